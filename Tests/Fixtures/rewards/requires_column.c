// Declares a column without which it scores nothing, and never looks at it.
#include "attune_reward.h"

static attune_status score(
    void *instance, const attune_host *host, const attune_batch *batch, attune_outcome *const *outcomes,
    attune_error *error) {
  (void)instance, (void)host, (void)error;
  for (size_t i = 0; i < batch->sample_count; i++) outcomes[i]->score = 1;
  return ATTUNE_OK;
}

static const char *const columns[] = {"price", NULL};
static const attune_reward requires_column = {
    sizeof(attune_reward), ATTUNE_DETERMINISTIC, 0, 0, NULL, "requires_column", "1 for rows with a price", 0, 1, NULL, columns,
    NULL, score, NULL, NULL, NULL, NULL};

ATTUNE_LIBRARY("requires_column", "1.0", &requires_column)
