// Calls a function that no library has.
#include "attune_reward.h"

double nobody_defines_this(void);
ATTUNE_REWARD(undefined, "cannot be loaded") { return nobody_defines_this(); }
