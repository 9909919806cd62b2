// Says where its inputs lie.
#include "attune_reward.h"

static double place(const void *p) { return (double)(size_t)p; }

ATTUNE_REWARD_FUNCTION(address, "addresses", ATTUNE_NEEDS_IMAGES, NULL) {
  attune_component_add(call, "prompt", place(sample->prompt.data));
  attune_component_add(call, "completion", place(sample->completion.data));
  attune_component_add(call, "raw", place(sample->completion_raw.data));
  attune_component_add(call, "reference", place(sample->references ? sample->references[0].data : NULL));
  attune_component_add(call, "ids", place(sample->token_ids));
  if (sample->image_count) attune_component_add(call, "pixels", place(sample->images[0]->pixels));
  return sample->completion.data[sample->completion.size] == 0 && sample->prompt.data[sample->prompt.size] == 0;
}

ATTUNE_LIBRARY("address", "1.0", &address_reward)
