/*
 * attune_shipped_rewards.h: the C plugins of rewards/, linked into the program.
 *
 * Each is compiled in a file of its own that gives its entry another name: the very source that an author would build.
 */
#ifndef ATTUNE_SHIPPED_REWARDS_H
#define ATTUNE_SHIPPED_REWARDS_H

#include "attune_reward.h"

typedef struct attune_shipped_reward {
  const char *name; /* of the folder in rewards/ */
  attune_reward_entry_function entry;
} attune_shipped_reward;

/* The plugin at this place in alphabetical order, or NULL after the last. */
const attune_shipped_reward *attune_shipped_rewards(size_t place);

#endif
