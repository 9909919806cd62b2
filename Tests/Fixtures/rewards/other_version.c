// A library of a version that does not exist yet.
#include "attune_reward.h"

static attune_library library;
const attune_library *attune_reward_entry(void);
const attune_library *attune_reward_entry(void) {
  library.struct_size = sizeof(library);
  library.magic = ATTUNE_MAGIC;
  library.abi_major = 7;
  library.abi_minor = 2;
  return &library;
}
