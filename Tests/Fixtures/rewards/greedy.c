// Writes where it must not: a score too many, past the end of its memory, or into its inputs.
#include "attune_reward.h"

#include <string.h>

static attune_status score(
    void *instance, const attune_host *host, const attune_batch *batch, attune_outcome *const *outcomes,
    attune_error *error) {
  (void)instance, (void)error;
  const char *wish = batch->sample_count ? batch->samples[0]->completion.data : "";
  for (size_t i = 0; i < batch->sample_count; i++) outcomes[i]->score = 1;
  if (!strcmp(wish, "one too many")) outcomes[batch->sample_count]->score = 1;
  if (!strcmp(wish, "past an outcome")) memset(outcomes[0] + 1, 1, 8);
  if (!strcmp(wish, "struct_size")) outcomes[0]->struct_size = 0;
  if (!strcmp(wish, "past memory")) memset(host->allocate(host, 10), 1, 11);
  if (!strcmp(wish, "before an outcome")) ((char *)outcomes[0])[-1] = 1;
  if (!strcmp(wish, "before the second outcome")) ((char *)outcomes[1])[-1] = 1;
  if (!strcmp(wish, "before memory")) {
    host->allocate(host, 100);
    ((char *)host->allocate(host, 100))[-1] = 1;
  }
  if (!strcmp(wish, "input")) memset((char *)(size_t)batch->samples[0]->completion.data, 'x', 1);
  return ATTUNE_OK;
}

static const attune_reward greedy = {sizeof(attune_reward), 0,    0,    0,     NULL, "greedy", "takes more", 0,   0,
                                     NULL,                  NULL, NULL, score, NULL, NULL,     NULL,         NULL};

ATTUNE_LIBRARY("greedy", "1.0", &greedy)
