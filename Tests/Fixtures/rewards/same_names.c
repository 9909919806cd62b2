// Two rewards of one name.
#include "attune_reward.h"

ATTUNE_REWARD_FUNCTION(twin, "first", 0, NULL) { return 1; }
ATTUNE_LIBRARY("same_names", "1.0", &twin_reward, &twin_reward)
