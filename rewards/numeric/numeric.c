// numeric: whether the number that the completion answers with is close enough to the true one.
//
// The answer is the last number of the last closed <answer> span, else of the whole completion. Numbers may have
// thousands separators (1,234,567), a decimal point, an exponent (3e8) and a percent sign. The error is relative to the
// reference or absolute; within the tolerance the score is 1, or in the graded form 1 - error / tolerance.

#include "attune_reward.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const attune_parameter tolerance_parameter =
    ATTUNE_PARAMETER_NUMBER("tolerance", "0.05", "the largest error that is still right", 0, 1e300);
static const attune_parameter error_parameter =
    ATTUNE_PARAMETER_STRING("error", "\"relative\"", "relative (to the reference) or absolute");
static const attune_parameter graded_parameter =
    ATTUNE_PARAMETER_BOOL("graded", "false", "1 - error / tolerance in place of 1 within the tolerance");
static const attune_parameter percent_parameter = ATTUNE_PARAMETER_STRING(
    "percent", "\"fraction\"", "5% is fraction: 0.05; number: 5; either: whichever is closer");
static const attune_parameter *const parameters[] = {
    &tolerance_parameter, &error_parameter, &graded_parameter, &percent_parameter, NULL};

// Where a number stands in a text: digits and what belongs to them, without sign and percent sign.
typedef struct place {
  attune_string digits;  // absent if there is no number
  bool negative, percent;
} place;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
// The byte at a place, 0 behind the end.
static char byte(attune_string text, size_t i) { return i < text.size ? text.data[i] : 0; }

static bool at(attune_string text, size_t i, const char *word) {
  const size_t size = strlen(word);
  return text.size - i >= size && memcmp(text.data + i, word, size) == 0;
}

// The text of the last closed <answer> span, else the whole text.
static attune_string answer(attune_string text) {
  attune_string span = text;
  size_t from = SIZE_MAX;
  for (size_t i = 0; i < text.size; i++) {
    if (text.data[i] != '<') continue;
    if (at(text, i, "<answer>")) from = i + strlen("<answer>");
    if (from == SIZE_MAX || !at(text, i, "</answer>")) continue;
    span.data = text.data + from;
    span.size = i - from;
    from = SIZE_MAX;
  }
  return span;
}

static size_t digits_end(attune_string text, size_t i) {
  while (is_digit(byte(text, i))) i++;
  return i;
}

// Behind the number that begins at i with a digit or a point.
static size_t number_end(attune_string text, size_t i) {
  size_t end = digits_end(text, i);
  if (end - i >= 1 && end - i <= 3)
    while (byte(text, end) == ',' && digits_end(text, end + 1) == end + 4) end += 4;
  if (byte(text, end) == '.' && is_digit(byte(text, end + 1))) end = digits_end(text, end + 1);
  if (byte(text, end) == 'e' || byte(text, end) == 'E') {
    const size_t exponent = end + 1 + (byte(text, end + 1) == '-' || byte(text, end + 1) == '+');
    if (is_digit(byte(text, exponent))) end = digits_end(text, exponent);
  }
  return end;
}

// A minus in front of the number that begins at i, or of its dollar sign; between numbers it is a dash: 2010-2015.
static bool is_negative(attune_string text, size_t i) {
  if (i > 0 && text.data[i - 1] == '$') i--;
  size_t before = SIZE_MAX;
  if (i >= 1 && text.data[i - 1] == '-') before = i - 1;
  if (i >= 3 && memcmp(text.data + i - 3, "\xE2\x88\x92", 3) == 0) before = i - 3;  // the minus sign U+2212
  if (before == SIZE_MAX) return false;
  return before == 0 || !(is_digit(text.data[before - 1]) || is_letter(text.data[before - 1]));
}

static place last_number(attune_string text) {
  place found = {{NULL, 0}, false, false};
  for (size_t i = 0; i < text.size; i++) {
    const bool point = text.data[i] == '.' && is_digit(byte(text, i + 1)) && !(i > 0 && is_digit(text.data[i - 1]));
    if (!point && !is_digit(text.data[i])) continue;
    const size_t end = number_end(text, i);
    if (i == 0 || !is_letter(text.data[i - 1])) {  // H2O holds no number
      size_t sign = end + (byte(text, end) == ' ');
      sign += byte(text, sign) == '\\';  // 5\% in LaTeX
      found.digits.data = text.data + i;
      found.digits.size = end - i;
      found.negative = is_negative(text, i);
      found.percent = byte(text, sign) == '%';
    }
    i = end - 1;
  }
  return found;
}

// What the number says; strtod rounds correctly, and in the C locale, which no plugin should leave.
static double value(const attune_call *call, place number) {
  char *plain = call->host->allocate(call->host, number.digits.size + 1);
  if (!plain) return NAN;
  size_t size = 0;
  for (size_t i = 0; i < number.digits.size; i++)
    if (number.digits.data[i] != ',') plain[size++] = number.digits.data[i];
  const double magnitude = strtod(plain, NULL);
  return number.negative ? -magnitude : magnitude;
}

static bool parameter_is(const attune_call *call, const char *name, const char *value) {
  return attune_equal(attune_parameter_string(call, name), attune_text(value));
}

static double error_between(double a, double truth, bool relative) {
  if (!relative) return fabs(a - truth);
  return truth == 0 ? (a == 0 ? 0 : INFINITY) : fabs(a - truth) / fabs(truth);
}

static double body(const attune_call *call, const attune_sample *sample) {
  const bool relative = parameter_is(call, "error", "relative");
  const bool either = parameter_is(call, "percent", "either"), fraction = parameter_is(call, "percent", "fraction");
  const double tolerance = attune_parameter_double(call, "tolerance", 0.05);
  const place given = last_number(answer(sample->completion));
  const double written = given.digits.data ? value(call, given) : NAN;

  if (sample->reference_count == 0) {
    attune_log(call, "no reference");
    return attune_none();
  }
  double error = INFINITY, closest = NAN;
  for (size_t i = 0; i < sample->reference_count; i++) {
    const place reference = last_number(sample->references[i]);
    const double truth = reference.digits.data ? value(call, reference) : NAN;
    if (!isfinite(truth)) return attune_invalid(call, "a reference holds no number");
    if (i == 0) closest = truth;
    for (int reading = 0; reading < 4 && given.digits.data; reading++) {
      // Bit 0: the answer's percent sign divides by 100; bit 1: the reference's does.
      const bool divides_answer = reading & 1, divides_truth = reading & 2;
      if (!either && (divides_answer != fraction || divides_truth != fraction)) continue;
      const double a = given.percent && divides_answer ? written / 100 : written;
      const double t = reference.percent && divides_truth ? truth / 100 : truth;
      double distance = error_between(a, t, relative);
      // An error on the bound is within it, whatever its last bits.
      const double slack = 1e-12 * (relative ? 1 : fabs(t)) + 1e-9 * tolerance;
      if (distance > tolerance && distance - slack <= tolerance) distance = tolerance;
      if (distance >= error) continue;
      error = distance;
      closest = truth;
    }
  }
  char line[96];
  if (!given.digits.data) {
    snprintf(line, sizeof line, "no number, expected %.12g", closest);
    attune_log(call, line);
    return 0;
  }
  if (isfinite(error)) attune_component_add(call, "error", error);
  snprintf(line, sizeof line, "answered %.12g, expected %.12g, error %.4g", written, closest, error);
  attune_log(call, line);
  if (error > tolerance) return 0;
  return attune_parameter_bool(call, "graded", false) && tolerance > 0 ? 1 - error / tolerance : 1;
}

static attune_status create(
    const attune_reward *self, const attune_host *host, attune_string given, void **instance, attune_error *error) {
  (void)self, (void)given, (void)instance;
  const attune_call call = {host, NULL, NULL, NULL, 0};
  const char *wrong = NULL;
  if (!parameter_is(&call, "error", "relative") && !parameter_is(&call, "error", "absolute"))
    wrong = "error is neither relative nor absolute";
  if (!parameter_is(&call, "percent", "fraction") && !parameter_is(&call, "percent", "number") &&
      !parameter_is(&call, "percent", "either"))
    wrong = "percent is none of fraction, number and either";
  if (!wrong) return ATTUNE_OK;
  snprintf(error->message, error->capacity, "%s", wrong);
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
    .name = "numeric",
    .summary = "1 for a number within a relative or absolute tolerance, or graded by its error",
    .maximum = 1,
    .parameters = parameters,
    .create = create,
    .score = score};

ATTUNE_LIBRARY("numeric", "1.0", &reward)
