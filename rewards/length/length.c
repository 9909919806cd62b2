// length: whether a completion is as long as it should be.
//
// 1 within min ... max, outside falling linearly to 0 over `decay` units. The unit is tokens of the policy, characters
// (Unicode code points) or words (runs of anything but ASCII white space). With `ratio` the three numbers are multiples
// of the reference's length: min 0.8, max 1.2 asks for a text about as long as the reference.

#include "attune_reward.h"

#include <stdio.h>

static const attune_parameter unit_parameter =
    ATTUNE_PARAMETER_STRING("unit", "\"tokens\"", "tokens, characters or words");
static const attune_parameter min_parameter =
    ATTUNE_PARAMETER_NUMBER("min", "0", "the shortest length that scores 1", 0, 1e9);
static const attune_parameter max_parameter =
    ATTUNE_PARAMETER_NUMBER("max", NULL, "the longest length that scores 1", 0, 1e9);
static const attune_parameter decay_parameter =
    ATTUNE_PARAMETER_NUMBER("decay", "0", "how far outside the score reaches 0", 0, 1e9);
static const attune_parameter ratio_parameter = ATTUNE_PARAMETER_BOOL(
    "ratio", "false", "min, max and decay are multiples of the reference's characters or words");
static const attune_parameter *const parameters[] = {
    &unit_parameter, &min_parameter, &max_parameter, &decay_parameter, &ratio_parameter, NULL};

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool unit_is(const attune_call *call, const char *unit) {
  return attune_equal(attune_parameter_string(call, "unit"), attune_text(unit));
}

static size_t characters(attune_string text) {
  size_t count = 0;  // every byte that does not continue a code point begins one
  for (size_t i = 0; i < text.size; i++) count += ((unsigned char)text.data[i] & 0xC0) != 0x80;
  return count;
}

static size_t words(attune_string text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size; i++)
    count += !is_space(text.data[i]) && (i == 0 || is_space(text.data[i - 1]));
  return count;
}

// Those that the policy wrote, in a dialogue with tools.
static size_t tokens(const attune_sample *sample) {
  if (!sample->policy_mask) return sample->token_count;
  size_t count = 0;
  for (size_t i = 0; i < sample->token_count; i++) count += sample->policy_mask[i] != 0;
  return count;
}

static double body(const attune_call *call, const attune_sample *sample) {
  const bool in_words = unit_is(call, "words"), in_tokens = unit_is(call, "tokens");
  if (in_tokens && sample->token_count == 0 && sample->completion.size > 0)
    return attune_invalid(call, "the completion comes without tokens: unit characters or words would do");
  double length = in_tokens ? (double)tokens(sample) : 0;
  if (!in_tokens) length = (double)(in_words ? words(sample->completion) : characters(sample->completion));
  attune_component_add(call, "length", length);

  double relative = length;
  if (attune_parameter_bool(call, "ratio", false)) {
    if (!sample->reference.data) {
      attune_log(call, "no reference");
      return attune_none();
    }
    const size_t whole = in_words ? words(sample->reference) : characters(sample->reference);
    if (whole == 0) return attune_invalid(call, "the reference is empty");
    relative = length / (double)whole;
  }
  const double min = attune_parameter_double(call, "min", 0), max = attune_parameter_double(call, "max", 0);
  const double decay = attune_parameter_double(call, "decay", 0);
  const double outside = relative < min ? min - relative : relative > max ? relative - max : 0;
  char line[96];
  snprintf(
      line, sizeof line, "%.0f %s, %s", length, attune_parameter_string(call, "unit").data,
      outside == 0 ? "in the range" : relative < min ? "too short" : "too long");
  attune_log(call, line);
  if (outside == 0) return 1;
  return outside < decay ? 1 - outside / decay : 0;
}

static attune_status create(
    const attune_reward *self, const attune_host *host, attune_string given, void **instance, attune_error *error) {
  (void)self, (void)given, (void)instance;
  const attune_call call = {host, NULL, NULL, NULL, 0};
  const double min = attune_parameter_double(&call, "min", 0), max = attune_parameter_double(&call, "max", 0);
  const bool in_tokens = unit_is(&call, "tokens");
  if (!in_tokens && !unit_is(&call, "characters") && !unit_is(&call, "words"))
    snprintf(
        error->message, error->capacity, "unit is '%s', expected tokens, characters or words",
        attune_parameter_string(&call, "unit").data);
  else if (min > max)
    snprintf(error->message, error->capacity, "min is %g, more than max, which is %g", min, max);
  else if (in_tokens && attune_parameter_bool(&call, "ratio", false))
    snprintf(error->message, error->capacity, "ratio needs the unit characters or words: references have no tokens");
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
    .produces = ATTUNE_PRODUCES_LOG | ATTUNE_PRODUCES_COMPONENTS,
    .name = "length",
    .summary = "1 for a length within a range of tokens, characters or words, falling linearly outside",
    .maximum = 1,
    .parameters = parameters,
    .create = create,
    .score = score};

ATTUNE_LIBRARY("length", "1.0", &reward)
