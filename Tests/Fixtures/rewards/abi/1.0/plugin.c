/* A plugin of the day version 1.0 was released: it is compiled against the header beside it, for ever. */
#include "attune_reward.h"

#include <stdlib.h>

static const attune_parameter factor = ATTUNE_PARAMETER_NUMBER("factor", "2", "multiplies", 0, 10);
static const attune_parameter loud = ATTUNE_PARAMETER_BOOL("loud", "true", "says more");
static const attune_parameter word = ATTUNE_PARAMETER_STRING("word", "\"answer\"", "a word");

ATTUNE_REWARD_FUNCTION(texts, "looks at every text", 0, &factor, &loud, &word) {
  const double scale = attune_parameter_double(call, "factor", 1);
  const attune_string tag = attune_parameter_string(call, "word");
  if (attune_parameter_bool(call, "loud", false)) attune_log(call, "loud ");
  attune_log_string(call, tag);
  attune_note_add(call, "completion", sample->completion);
  attune_note_add(call, "column", attune_column_json(call, "anything"));
  attune_component_add(call, "size", (double)sample->completion.size);
  attune_component_add(call, "number", attune_column_double(call, "value", -1));
  attune_component_add(call, "flag", attune_column_bool(call, "flag", false) ? 1 : 0);
  attune_component_add(call, "part", attune_json(call, sample->columns, "a[0]").number);
  if (attune_equal(sample->completion, attune_text("none"))) return attune_none();
  if (attune_equal(sample->completion, attune_text("fail"))) return attune_fail(call, "asked to fail");
  if (!sample->reference.data) return attune_invalid(call, "no reference");
  attune_string why = {NULL, 0};
  const attune_string opinion = attune_ask_judge(call, sample->completion, &why);
  attune_log_string(call, opinion.data ? opinion : why);
  return scale * (double)sample->reference.size + (double)attune_column_string(call, "text").size;
}

ATTUNE_REWARD_FUNCTION(tokens, "a reward for every token", ATTUNE_NEEDS_TOKENS | ATTUNE_NEEDS_LOGPROBS, NULL) {
  float *rewards = (float *)call->host->allocate(call->host, sample->token_count * sizeof(float));
  if (!rewards) return attune_fail(call, "no memory");
  for (size_t i = 0; i < sample->token_count; i++)
    rewards[i] = sample->policy_mask && !sample->policy_mask[i] ? 0 : (float)(sample->token_ids[i] & 1);
  call->outcome->token_rewards = rewards;
  call->outcome->token_reward_count = sample->token_count;
  attune_log_string(call, attune_decode(call, sample->token_ids, sample->token_count));
  return (double)(call->host->random(call->host, sample, 0) >> 40);
}

ATTUNE_REWARD_FUNCTION(pictures, "looks at every pixel and message", ATTUNE_NEEDS_IMAGES | ATTUNE_NEEDS_TURNS, NULL) {
  double sum = 0;
  for (size_t i = 0; i < sample->image_count; i++) {
    const attune_image *image = sample->images[i];
    for (size_t y = 0; y < image->height; y++)
      for (size_t x = 0; x < image->width * 3u; x++) sum += image->pixels[y * image->row_stride + x];
  }
  for (size_t i = 0; i < sample->message_count; i++) sum += (double)sample->messages[i]->text.size;
  for (size_t i = 0; i < sample->reference_count; i++) sum += (double)sample->references[i].size;
  return sum;
}

/* A reward with all its parts by hand: an instance with state. */
static attune_status counter_create(
    const attune_reward *self, const attune_host *host, attune_string parameters, void **instance,
    attune_error *error) {
  (void)self, (void)host, (void)parameters, (void)error;
  *instance = calloc(1, sizeof(uint64_t));
  return *instance ? ATTUNE_OK : ATTUNE_FAILED;
}
static attune_status counter_score(
    void *instance, const attune_host *host, const attune_batch *batch, attune_outcome *const *outcomes,
    attune_error *error) {
  uint64_t *count = (uint64_t *)instance;
  (void)error;
  for (size_t i = 0; i < batch->sample_count; i++) {
    host->begin(host, i);
    outcomes[i]->score = (double)++*count;
    host->end(host, i);
  }
  return ATTUNE_OK;
}
static attune_status counter_save(void *instance, const attune_host *host, attune_string *bytes, attune_error *error) {
  char *memory = (char *)host->allocate(host, sizeof(uint64_t));
  (void)error;
  if (!memory) return ATTUNE_FAILED;
  for (size_t i = 0; i < sizeof(uint64_t); i++) memory[i] = ((const char *)instance)[i];
  bytes->data = memory;
  bytes->size = sizeof(uint64_t);
  return ATTUNE_OK;
}
static attune_status counter_load(void *instance, const attune_host *host, attune_string bytes, attune_error *error) {
  (void)host, (void)error;
  if (bytes.size != sizeof(uint64_t)) return ATTUNE_INVALID;
  for (size_t i = 0; i < sizeof(uint64_t); i++) ((char *)instance)[i] = bytes.data[i];
  return ATTUNE_OK;
}
static const attune_reward counter_reward = {
    sizeof(attune_reward), 0, 0, 0, NULL, "counter", "how many samples there were", 0, 0, NULL, NULL, counter_create,
    counter_score, free, counter_save, counter_load, NULL};

ATTUNE_LIBRARY("every_helper", "1.0", &texts_reward, &tokens_reward, &pictures_reward, &counter_reward)
