// Promises equal scores for equal samples and does not keep it.
#include "attune_reward.h"

static int count;
ATTUNE_REWARD(nondeterministic, "counts up") { return ++count; }
