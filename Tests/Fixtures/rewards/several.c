// Three rewards in one library: parameters and columns, everything that an outcome can hold, and one without opinion.
#include "attune_reward.h"

static const attune_parameter tolerance =
    ATTUNE_PARAMETER_NUMBER("tolerance", "0.05", "how far off still counts as right", 0, 10);
static const attune_parameter strict = ATTUNE_PARAMETER_BOOL("strict", "false", "no tolerance");
static const attune_parameter unit = ATTUNE_PARAMETER_STRING("unit", "\"m\"", "named in the log");

ATTUNE_REWARD_FUNCTION(close_enough, "1 if the column value is within tolerance of 1", 0, &tolerance, &strict, &unit) {
  const double value = attune_column_double(call, "value", attune_none());
  if (value != value) return attune_fail(call, "no column value");
  const double off = value > 1 ? value - 1 : 1 - value;
  attune_log_string(call, attune_parameter_string(call, "unit"));
  return off <= (attune_parameter_bool(call, "strict", false) ? 0 : attune_parameter_double(call, "tolerance", 0));
}

ATTUNE_REWARD_FUNCTION(explain, "fills in all that an outcome has", ATTUNE_NEEDS_IMAGES, NULL) {
  float *rewards = (float *)call->host->allocate(call->host, sample->token_count * sizeof(float));
  attune_step_reward *step = (attune_step_reward *)call->host->allocate(call->host, sizeof(attune_step_reward));
  for (size_t i = 0; i < sample->token_count; i++) rewards[i] = (float)sample->token_ids[i] * 0.5f;
  call->outcome->token_rewards = rewards;
  call->outcome->token_reward_count = sample->token_count;
  step->first_token = 0;
  step->end_token = (uint32_t)sample->token_count;
  step->value = 2;
  step->label = attune_text("all");
  call->outcome->step_rewards = step;
  call->outcome->step_reward_count = 1;
  attune_component_add(call, "images", (double)sample->image_count);
  double sum = 0;
  for (size_t i = 0; i < sample->image_count; i++)
    for (size_t k = 0; k < (size_t)sample->images[i]->row_stride * sample->images[i]->height; k++)
      sum += sample->images[i]->pixels[k];
  attune_component_add(call, "pixels", sum);
  attune_component_add(call, "logprob", sample->logprobs && sample->token_count ? (double)sample->logprobs[0] : attune_none());
  attune_component_add(call, "group", (double)sample->group_id);
  attune_component_add(call, "place", (double)sample->index_in_group);
  attune_component_add(call, "step", (double)call->batch->step);
  attune_component_add(call, "random", (double)(call->host->random(call->host, sample, 0) % 1000));
  attune_log_string(call, sample->message_count ? sample->messages[0]->json : attune_text(""));
  attune_log(call, " | ");
  attune_log_string(call, attune_column_json(call, "list"));
  attune_log(call, " | ");
  attune_log_string(call, attune_decode(call, sample->token_ids, sample->token_count));
  call->host->metric(call->host, "seen", 1);
  call->host->log(call->host, ATTUNE_LOG_WARNING, attune_text("explained"));
  return 1;
}

ATTUNE_REWARD_FUNCTION(silent, "never has an opinion", 0, NULL) { return attune_none(); }

ATTUNE_LIBRARY("several", "1.2", &close_enough_reward, &explain_reward, &silent_reward)
