// A library that has rewards, but no list of them.
#include "attune_reward.h"

const attune_library *attune_reward_entry(void);
const attune_library *attune_reward_entry(void) {
  static const attune_library library = {
      .magic = ATTUNE_MAGIC,
      .abi_major = ATTUNE_ABI_MAJOR,
      .abi_minor = ATTUNE_ABI_MINOR,
      .struct_size = sizeof(attune_library),
      .name = "no_list",
      .version = "1",
      .reward_count = 1,
      .rewards = NULL};
  return &library;
}
