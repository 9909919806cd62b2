// Keeps state: counts what it has scored, from a parameter on; saves and loads the count.
#include "attune_reward.h"

#include <stdlib.h>
#include <string.h>

static const attune_parameter start = ATTUNE_PARAMETER_NUMBER("start", NULL, "the first score", 0, 0);
static const attune_parameter *const parameters[] = {&start, NULL};

static attune_status create(
    const attune_reward *self, const attune_host *host, attune_string text, void **instance, attune_error *error) {
  (void)self, (void)text;
  attune_value value;
  host->parameter(host, "start", &value);
  if (value.number < 0) {
    strncpy(error->message, "cannot start below 0", error->capacity);
    return ATTUNE_INVALID;
  }
  double *count = malloc(sizeof(double));
  *count = value.number;
  *instance = count;
  return ATTUNE_OK;
}

static attune_status score(
    void *instance, const attune_host *host, const attune_batch *batch, attune_outcome *const *outcomes,
    attune_error *error) {
  (void)error;
  for (size_t i = 0; i < batch->sample_count; i++) {
    host->begin(host, i);
    if (!strcmp(batch->samples[i]->completion.data, "crash")) abort();
    outcomes[i]->score = (*(double *)instance)++;
    host->end(host, i);
  }
  return ATTUNE_OK;
}

static attune_status save(void *instance, const attune_host *host, attune_string *state, attune_error *error) {
  (void)error;
  double *copy = host->allocate(host, sizeof(double));
  *copy = *(double *)instance;
  state->data = (const char *)copy;
  state->size = sizeof(double);
  return ATTUNE_OK;
}

static attune_status load(void *instance, const attune_host *host, attune_string state, attune_error *error) {
  (void)host;
  if (state.size != sizeof(double)) {
    strncpy(error->message, "not my state", error->capacity);
    return ATTUNE_INVALID;
  }
  memcpy(instance, state.data, sizeof(double));
  return ATTUNE_OK;
}

static const attune_reward counter = {sizeof(attune_reward), 0, 0, 0, NULL, "counter", "counts", 0, 0, parameters,
                                      NULL, create, score, free, save, load, NULL};

ATTUNE_LIBRARY("counter", "1.0", &counter)
