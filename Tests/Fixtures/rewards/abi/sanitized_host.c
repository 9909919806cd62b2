/*
 * A host in one file, for the address and undefined-behaviour sanitizers: links one C plugin, lends it memory whose every
 * piece is an allocation of its own size, and scores samples made of pieces that plugins look for.
 *
 *     cc -fsanitize=address,undefined -I DIR sanitized_host.c plugin.c && ./a.out
 *
 * Prints how many outcomes there were of each status; any violation ends it with the sanitizer's report.
 */
#include "attune_reward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 0x9E3779B97F4A7C15u;
static uint64_t next_word(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}
static size_t below(size_t n) { return (size_t)(next_word() % n); }

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void **pieces;
static size_t piece_count, piece_room;

static void *lend(size_t size) {
  void *memory = calloc(1, size ? size : 1);
  if (!memory) abort();
  if (piece_count == piece_room) {
    piece_room = piece_room ? piece_room * 2 : 64;
    pieces = realloc(pieces, piece_room * sizeof *pieces);
    if (!pieces) abort();
  }
  pieces[piece_count++] = memory;
  return memory;
}

static void take_back(void) {
  while (piece_count) free(pieces[--piece_count]);
}

static attune_string copy(const char *text, size_t size) {
  char *memory = lend(size + 1);
  if (size) memcpy(memory, text, size);
  const attune_string made = {memory, size};
  return made;
}

static attune_string literal(const char *text) { return copy(text, strlen(text)); }

/* ---- Services ---------------------------------------------------------------------------------------------------- */

static const attune_reward *current;

static void *host_allocate(const attune_host *host, size_t size) {
  (void)host;
  return lend(size);
}
static void host_mark(const attune_host *host, size_t index) { (void)host, (void)index; }
static bool host_cancelled(const attune_host *host) {
  (void)host;
  return false;
}
static uint64_t host_now(const attune_host *host) {
  (void)host;
  return 0;
}
static uint64_t host_random(const attune_host *host, const attune_sample *sample, uint64_t counter) {
  (void)host;
  return sample->seed * 0x9E3779B97F4A7C15u + counter;
}

/* A scalar's JSON as a value; lists and objects keep their text. */
static attune_status read_value(const char *json, attune_value *value) {
  memset(value, 0, sizeof *value);
  value->number = attune_none();
  if (!json) return ATTUNE_NOT_APPLICABLE;
  if (json[0] == '"') {
    value->type = ATTUNE_STRING;
    value->text = copy(json + 1, strlen(json) - 2);
  } else if (json[0] == '[' || json[0] == '{') {
    value->type = json[0] == '[' ? ATTUNE_LIST : ATTUNE_OBJECT;
    value->number = 4;
    value->text = literal(json);
  } else if (json[0] == 't' || json[0] == 'f') {
    value->type = ATTUNE_BOOL;
    value->number = json[0] == 't';
    value->text = literal(json);
  } else if (json[0] == 'n') {
    value->type = ATTUNE_NULL;
    value->text = literal(json);
  } else {
    value->type = ATTUNE_NUMBER;
    value->number = strtod(json, NULL);
    value->text = literal(json);
  }
  return ATTUNE_OK;
}

static attune_status host_column(
    const attune_host *host, const attune_sample *sample, const char *name, attune_value *value) {
  (void)host, (void)sample, (void)name;
  static const char *const values[] = {NULL,    "\"407\"", "\"\"",       "12.5",  "-3",
                                       "true",  "null",    "[1,2,30,40]", "{\"a\":1}", "\"[1, 2, 30, 40]\""};
  return read_value(values[below(sizeof values / sizeof values[0])], value);
}

static attune_status host_parameter(const attune_host *host, const char *name, attune_value *value) {
  (void)host;
  for (size_t i = 0; current->parameters && current->parameters[i]; i++)
    if (strcmp(current->parameters[i]->name, name) == 0) {
      /* Required numbers get falling values, so that a buffer is smaller than the limit before it. */
      const char *const required[] = {"64", "16", "4", "2"};
      const attune_parameter *parameter = current->parameters[i];
      return read_value(parameter->default_json ? parameter->default_json : required[i & 3], value);
    }
  return read_value(NULL, value);
}

static attune_status host_json(const attune_host *host, attune_string text, const char *path, attune_value *value) {
  (void)host, (void)text, (void)path;
  return read_value(below(4) ? "17.5" : NULL, value);
}

static void host_log(const attune_host *host, int32_t level, attune_string text) { (void)host, (void)level, (void)text; }
static void host_metric(const attune_host *host, const char *name, double value) { (void)host, (void)name, (void)value; }
static attune_status host_decode(const attune_host *host, const int32_t *ids, size_t count, attune_string *text) {
  (void)host, (void)ids;
  *text = copy("abcdefgh", count % 9);
  return ATTUNE_OK;
}
static attune_status host_encode(
    const attune_host *host, attune_string text, const int32_t **ids, size_t *count) {
  (void)host;
  *ids = lend(text.size * sizeof(int32_t));
  *count = text.size;
  return ATTUNE_OK;
}
static attune_status host_judge(
    const attune_host *host, const attune_judge_request *request, attune_judge_reply *reply) {
  (void)host, (void)request;
  reply->text = literal("Reward: 1");
  return ATTUNE_OK;
}
static const void *host_extension(const attune_host *host, const char *id) {
  (void)host, (void)id;
  return NULL;
}

static const attune_host host = {
    sizeof(attune_host), 0, NULL, "sanitized", "1.0", host_allocate, host_mark, host_mark, host_cancelled, host_now,
    host_random, host_column, host_parameter, host_json, host_log, host_metric, host_decode, host_encode, host_judge,
    host_extension};

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

static attune_string text_of_pieces(size_t most) {
  static const char *const words[] = {
      "<answer>", "</answer>", "<think>", "</think>", "407", "3.5", "-12", "1,000", "50%", "(A)", "B", "the", " ", "\n",
      "[1, 2, 30, 40]", "{", "}", "\\boxed{", "####", "Action:", "Action Input:", "\xC3\xA9", "\xE4\xBD\xA0",
      "\xF0\x9F\x98\x80", "\xFF", "a", "word word word", "[[", "1e999", "\xD7\xA9", "...", "$", "-", "+", "inf", "nan"};
  char *buffer = malloc(1);
  size_t size = 0;
  if (!buffer) abort();
  for (size_t n = below(most + 1); n > 0; n--) {
    const char *word = words[below(sizeof words / sizeof words[0])];
    const size_t length = below(40) ? strlen(word) : 1; /* now and then a single byte, which may be a NUL */
    buffer = realloc(buffer, size + length + 1);
    if (!buffer) abort();
    memcpy(buffer + size, word, length);
    if (length == 1 && below(2)) buffer[size] = 0;
    size += length;
  }
  const attune_string made = copy(buffer, size);
  free(buffer);
  return made;
}

static attune_string maybe(size_t most) {
  const attune_string absent = {NULL, 0};
  return below(3) ? text_of_pieces(most) : absent;
}

static const attune_sample *make_sample(size_t i, size_t group_size) {
  attune_sample *sample = lend(sizeof *sample);
  sample->struct_size = sizeof *sample;
  sample->finish_reason = (int32_t)below(6);
  sample->sample_id = i;
  sample->group_id = i / group_size;
  sample->index_in_group = (uint32_t)(i % group_size);
  sample->group_size = (uint32_t)group_size;
  sample->truncated = sample->finish_reason == ATTUNE_FINISH_LENGTH;
  sample->seed = next_word();
  sample->prompt = text_of_pieces(8);
  sample->generation_prefix = maybe(1);
  const size_t most = i % 50 == 0 ? 20000 : i % 7 == 0 ? 0 : 40;
  sample->completion = text_of_pieces(most);
  sample->completion_raw = copy(sample->completion.data, sample->completion.size);
  sample->stop_string = maybe(1);
  sample->columns = literal("{}");
  sample->dataset = sample->row_id = sample->channel = literal("d");
  sample->reference_count = below(3);
  if (sample->reference_count) {
    attune_string *references = lend(sample->reference_count * sizeof *references);
    for (size_t k = 0; k < sample->reference_count; k++) references[k] = text_of_pieces(3);
    sample->references = references;
    sample->reference = references[0];
  }
  sample->token_count = below(4) ? below(200) : 0;
  int32_t *ids = lend(sample->token_count * sizeof *ids);
  for (size_t k = 0; k < sample->token_count; k++) ids[k] = (int32_t)below(5);
  sample->token_ids = ids;
  if (below(2)) {
    uint8_t *mask = lend(sample->token_count);
    for (size_t k = 0; k < sample->token_count; k++) mask[k] = (uint8_t)below(2);
    sample->policy_mask = mask;
  }
  if (below(2)) sample->logprobs = lend(sample->token_count * sizeof(float));
  sample->image_count = below(3);
  const attune_image **images = lend(sample->image_count * sizeof *images);
  for (size_t k = 0; k < sample->image_count; k++) {
    attune_image *image = lend(sizeof *image);
    image->struct_size = sizeof *image;
    image->width = (uint32_t)below(9);
    image->height = (uint32_t)below(9);
    image->row_stride = image->width * 3 + (uint32_t)below(3);
    image->pixels = lend((size_t)image->row_stride * image->height);
    image->scale_x = below(2) ? attune_none() : 2.0;
    image->scale_y = image->scale_x;
    image->timestamp = attune_none();
    images[k] = image;
  }
  sample->images = images;
  return sample;
}

const attune_library *attune_reward_entry(void);

int main(void) {
  size_t counts[5] = {0}, bad = 0;
  const attune_library *library = attune_reward_entry();
  if (library->magic != ATTUNE_MAGIC || library->abi_major != ATTUNE_ABI_MAJOR) return 3;
  for (size_t r = 0; r < library->reward_count; r++) {
    current = library->rewards[r];
    void *instance = NULL;
    char message[64];
    attune_error error = {message, sizeof message};
    if (current->create && current->create(current, &host, literal("{}"), &instance, &error) != ATTUNE_OK) return 4;
    for (size_t call = 0; call < 60; call++) {
      const size_t count = call == 0 ? 0 : 8;
      const attune_sample **samples = lend(count * sizeof *samples);
      attune_outcome **outcomes = lend(count * sizeof *outcomes);
      for (size_t i = 0; i < count; i++) {
        samples[i] = make_sample(call * count + i, 4);
        outcomes[i] = lend(sizeof *outcomes[i]);
        outcomes[i]->struct_size = sizeof *outcomes[i];
        outcomes[i]->score = attune_none();
      }
      attune_batch *batch = lend(sizeof *batch);
      batch->struct_size = sizeof *batch;
      batch->step = call;
      batch->recipe = batch->run_id = literal("r");
      batch->sample_count = count;
      batch->samples = samples;
      if (current->score(instance, &host, batch, outcomes, &error) != ATTUNE_OK) bad++;
      for (size_t i = 0; i < count; i++) {
        const attune_outcome *outcome = outcomes[i];
        if (outcome->status >= 0 && outcome->status < 5) counts[outcome->status]++; else bad++;
        /* Everything that the outcome points to is read. */
        volatile char sum = 0;
        for (size_t k = 0; k < outcome->log.size; k++) sum ^= outcome->log.data[k];
        for (size_t k = 0; k < outcome->component_count; k++) sum ^= outcome->components[k].name.data[0];
        for (size_t k = 0; k < outcome->note_count; k++)
          for (size_t b = 0; b < outcome->notes[k].text.size; b++) sum ^= outcome->notes[k].text.data[b];
        for (size_t k = 0; k < outcome->token_reward_count; k++) sum ^= outcome->token_rewards[k] > 0;
      }
      take_back();
    }
    if (current->destroy) current->destroy(instance);
  }
  free(pieces);
  printf("%zu ok, %zu not applicable, %zu failed, %zu timed out, %zu invalid, %zu bad\n", counts[0], counts[1], counts[2],
         counts[3], counts[4], bad);
  return bad ? 5 : 0;
}
