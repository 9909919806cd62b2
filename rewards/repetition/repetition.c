// repetition: a penalty for saying the same things again.
//
// max_penalty * (1 - different n-grams / all n-grams), 0 for a completion shorter than n. The units are the policy's
// token ids, or words (lower-cased in ASCII, separated by ASCII white space), which mean nothing in scripts that write
// no spaces. Linear in the length: n-grams are counted in a hash table.

#include "attune_reward.h"

#include <math.h>
#include <stdio.h>

static const attune_parameter n_parameter =
    ATTUNE_PARAMETER_NUMBER("n", "3", "how many units in a row are compared", 1, 64);
static const attune_parameter max_penalty_parameter =
    ATTUNE_PARAMETER_NUMBER("max_penalty", "-1", "the score of endless repetition", -1e9, 0);
static const attune_parameter unit_parameter = ATTUNE_PARAMETER_STRING("unit", "\"tokens\"", "tokens or words");
static const attune_parameter *const parameters[] = {&n_parameter, &max_penalty_parameter, &unit_parameter, NULL};

static bool unit_is(const attune_call *call, const char *unit) {
  return attune_equal(attune_parameter_string(call, "unit"), attune_text(unit));
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Spreads a word over all bits (the finalizer of MurmurHash3).
static uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDu;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53u;
  return x ^ (x >> 33);
}

// Words as 64-bit hashes, which no two words of a text share in practice; returns how many.
static size_t words(attune_string text, uint64_t *units) {
  size_t count = 0;
  for (size_t i = 0; i < text.size;) {
    uint64_t hash = 0;
    const size_t start = i;
    for (; i < text.size && !is_space(text.data[i]); i++) {
      const char c = text.data[i];
      hash = mixed(hash + (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c) + 1);
    }
    if (i > start) units[count++] = hash;
    while (i < text.size && is_space(text.data[i])) i++;
  }
  return count;
}

// Whether the n units from `start` on are a run that the table did not hold; it does afterwards. The table has `slots`
// places, a power of two and more than there are runs; an entry is one more than the start of a run, 0 is free.
static bool is_new(const uint64_t *units, size_t start, size_t n, uint32_t *table, size_t slots) {
  uint64_t hash = 0;
  for (size_t k = 0; k < n; k++) hash = mixed(hash * 31 + units[start + k]);
  for (size_t slot = hash & (slots - 1);; slot = (slot + 1) & (slots - 1)) {
    if (table[slot] == 0) {
      table[slot] = (uint32_t)(start + 1);
      return true;
    }
    const uint64_t *known = units + table[slot] - 1;
    size_t k = 0;
    while (k < n && known[k] == units[start + k]) k++;
    if (k == n) return false;
  }
}

static double body(const attune_call *call, const attune_sample *sample) {
  const size_t n = (size_t)attune_parameter_double(call, "n", 3);
  const bool in_words = unit_is(call, "words");
  size_t count = sample->token_ids ? sample->token_count : 0;
  if (!in_words && count == 0 && sample->completion.size > 0)
    return attune_invalid(call, "the completion comes without token ids: unit words would do");
  if (in_words) count = sample->completion.size / 2 + 1;  // at most
  size_t slots = 4;
  while (slots < 2 * count) slots *= 2;
  uint64_t *units = call->host->allocate(call->host, (count + 1) * sizeof *units);
  uint32_t *table = call->host->allocate(call->host, slots * sizeof *table);
  if (!units || !table) return attune_fail(call, "no memory");
  if (in_words) count = words(sample->completion, units);
  for (size_t i = 0; !in_words && i < count; i++) units[i] = (uint32_t)sample->token_ids[i];

  size_t runs = 0, distinct = 0, own = 0;
  for (size_t i = 0; i < count; i++) {
    // A run counts if the policy wrote all of it.
    own = in_words || !sample->policy_mask || sample->policy_mask[i] ? own + 1 : 0;
    if (own < n) continue;
    runs++;
    distinct += is_new(units, i + 1 - n, n, table, slots);
  }
  char line[96];
  snprintf(line, sizeof line, "%zu of %zu runs of %zu %s differ", distinct, runs, n, in_words ? "words" : "tokens");
  attune_log(call, line);
  const double repeated = runs > 0 ? 1 - (double)distinct / (double)runs : 0;
  attune_component_add(call, "repeated", repeated);
  // Adding 0 turns a negative zero into 0.
  return repeated * attune_parameter_double(call, "max_penalty", -1) + 0.0;
}

static attune_status create(
    const attune_reward *self, const attune_host *host, attune_string given, void **instance, attune_error *error) {
  (void)self, (void)given, (void)instance;
  const attune_call call = {host, NULL, NULL, NULL, 0};
  const double n = attune_parameter_double(&call, "n", 3);
  if (n != floor(n))
    snprintf(error->message, error->capacity, "n is %g, expected a whole number", n);
  else if (!unit_is(&call, "tokens") && !unit_is(&call, "words"))
    snprintf(
        error->message, error->capacity, "unit is '%s', expected tokens or words",
        attune_parameter_string(&call, "unit").data);
  else
    return ATTUNE_OK;
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
    .needs = ATTUNE_NEEDS_TOKENS,
    .produces = ATTUNE_PRODUCES_LOG | ATTUNE_PRODUCES_COMPONENTS,
    .name = "repetition",
    .summary = "a penalty for the share of n-grams that were there before, in tokens or words",
    .parameters = parameters,
    .create = create,
    .score = score};

ATTUNE_LIBRARY("repetition", "1.0", &reward)
