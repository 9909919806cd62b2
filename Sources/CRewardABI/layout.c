#include "attune_reward.h"
