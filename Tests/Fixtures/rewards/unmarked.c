// Fills in the struct itself and marks no progress: the host finds the culprit by scoring one by one.
#include "attune_reward.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static attune_status score(
    void *instance, const attune_host *host, const attune_batch *batch, attune_outcome *const *outcomes,
    attune_error *error) {
  (void)instance, (void)host;
  for (size_t i = 0; i < batch->sample_count; i++) {
    const char *wish = batch->samples[i]->completion.data;
    if (!strcmp(wish, "crash")) raise(SIGSEGV);
    if (!strcmp(wish, "hang"))
      for (;;) usleep(1000);
    if (!strcmp(wish, "give up")) {
      strncpy(error->message, "the whole call failed", error->capacity - 1);
      return ATTUNE_FAILED;
    }
    outcomes[i]->score = 0.5;
  }
  return ATTUNE_OK;
}

static const attune_reward unmarked = {sizeof(attune_reward), 0,    0,    0,     NULL, "unmarked", "no marks", 0,   0,
                                       NULL,                  NULL, NULL, score, NULL, NULL,       NULL,       NULL};

ATTUNE_LIBRARY("unmarked", "1.0", &unmarked)
