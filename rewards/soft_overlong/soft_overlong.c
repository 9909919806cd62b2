// soft_overlong: a penalty that grows over the last tokens before the length limit (DAPO, equation 13).
//
// With the limit L and the buffer B, for a completion of y tokens: 0 up to L - B, then (L - B - y) / B, which reaches -1
// at L; -1 beyond. In a dialogue with tools only the policy's own tokens count.

#include "attune_reward.h"

#include <stdio.h>

static const attune_parameter limit_parameter =
    ATTUNE_PARAMETER_NUMBER("limit", NULL, "L, in tokens: the most that a completion may have", 1, 1e9);
static const attune_parameter buffer_parameter =
    ATTUNE_PARAMETER_NUMBER("buffer", NULL, "B, in tokens, less than the limit: where the penalty grows", 1, 1e9);
static const attune_parameter *const parameters[] = {&limit_parameter, &buffer_parameter, NULL};

static double body(const attune_call *call, const attune_sample *sample) {
  if (sample->token_count == 0 && sample->completion.size > 0)
    return attune_invalid(call, "the completion comes without tokens");
  double length = (double)sample->token_count;
  for (size_t i = 0; sample->policy_mask && i < sample->token_count; i++) length -= sample->policy_mask[i] == 0;
  const double limit = attune_parameter_double(call, "limit", 0);
  const double buffer = attune_parameter_double(call, "buffer", 0);
  const double free = limit - buffer;
  char line[96];
  snprintf(line, sizeof line, "%.0f tokens, free up to %g, limit %g", length, free, limit);
  attune_log(call, line);
  if (length <= free) return 0;
  return length > limit ? -1 : (free - length) / buffer;
}

static attune_status create(
    const attune_reward *self, const attune_host *host, attune_string given, void **instance, attune_error *error) {
  (void)self, (void)given, (void)instance;
  const attune_call call = {host, NULL, NULL, NULL, 0};
  const double limit = attune_parameter_double(&call, "limit", 0);
  const double buffer = attune_parameter_double(&call, "buffer", 0);
  if (buffer < limit) return ATTUNE_OK;
  snprintf(error->message, error->capacity, "buffer is %g, expected less than the limit, which is %g", buffer, limit);
  return ATTUNE_INVALID;
}

static attune_status score(
    void *instance, const attune_host *host, const attune_batch *batch, attune_outcome *const *outcomes,
    attune_error *error) {
  (void)instance, (void)error;
  return attune_score_each(body, host, batch, outcomes);
}

static const attune_reward reward = {
    .struct_size = sizeof(attune_reward),
    .flags = ATTUNE_DETERMINISTIC,
    .produces = ATTUNE_PRODUCES_LOG,
    .name = "soft_overlong",
    .summary = "a penalty down to -1 over the last tokens before the length limit",
    .minimum = -1,
    .parameters = parameters,
    .create = create,
    .score = score};

ATTUNE_LIBRARY("soft_overlong", "1.0", &reward)
