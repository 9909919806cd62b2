// The shortest C reward: shorter completions score more.
#include "attune_reward.h"

ATTUNE_REWARD(brief, "1 for an empty completion, less for every byte") {
  return 1.0 / (1.0 + (double)sample->completion.size);
}
