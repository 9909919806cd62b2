#include "attune_shipped_rewards.h"

/* In alphabetical order. */
#define FOR_EACH_SHIPPED_REWARD(X) \
  X(digit_match) \
  X(exact_match) \
  X(iou) \
  X(length) \
  X(multiple_choice) \
  X(numeric) \
  X(repetition) \
  X(soft_overlong)

#define DECLARE(NAME) const attune_library *attune_entry_##NAME(void);
FOR_EACH_SHIPPED_REWARD(DECLARE)

const attune_shipped_reward *attune_shipped_rewards(size_t place) {
#define ENTRY(NAME) {#NAME, attune_entry_##NAME},
  static const attune_shipped_reward all[] = {FOR_EACH_SHIPPED_REWARD(ENTRY)};
  return place < sizeof all / sizeof all[0] ? &all[place] : NULL;
}
