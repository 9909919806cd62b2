// exact_match: whether the answer is one of the references, as question answering counts it.
//
// The answer is what stands in the last closed <answer> span, else the whole completion. Both sides are lower-cased,
// their punctuation and the articles a, an, the are removed, and white space is collapsed; all of that is ASCII only.
// A score is quartered where the completion holds more than ten <answer> or </answer> tags, so that guessing many times
// does not pay.

#define _GNU_SOURCE  // memmem
#include "attune_reward.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const attune_parameter mode_parameter = ATTUNE_PARAMETER_STRING(
    "mode", "\"exact\"", "exact: the answer is a reference; contains: it holds one, as whole words");
static const attune_parameter normalize_parameter = ATTUNE_PARAMETER_BOOL(
    "normalize", "true", "compare without case, punctuation, articles and repeated spaces");
static const attune_parameter require_tags_parameter = ATTUNE_PARAMETER_BOOL(
    "require_tags", "false", "a completion without a closed <answer> span scores 0");
static const attune_parameter *const parameters[] = {
    &mode_parameter, &normalize_parameter, &require_tags_parameter, NULL};

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_punctuation(char c) { return c > ' ' && c < 127 && !is_digit(c) && !is_letter(c); }

static bool is_article(const char *word, size_t size) {
  return (size == 1 && word[0] == 'a') || (size == 2 && memcmp(word, "an", 2) == 0) ||
         (size == 3 && memcmp(word, "the", 3) == 0);
}

static bool at(attune_string text, size_t i, const char *word) {
  const size_t size = strlen(word);
  return text.size - i >= size && memcmp(text.data + i, word, size) == 0;
}

// The text of the last closed <answer> span, absent if there is none, and how many tags there are of the more frequent
// kind. Texts may hold NULs, so that the functions of string.h for C strings would not do.
static attune_string answer_span(attune_string text, size_t *tags) {
  attune_string span = {NULL, 0};
  size_t from = SIZE_MAX, opened = 0, closed = 0;
  for (size_t i = 0; i < text.size; i++) {
    if (text.data[i] != '<') continue;
    if (at(text, i, "<answer>")) {
      from = i + strlen("<answer>");
      opened++;
    } else if (at(text, i, "</answer>")) {
      closed++;
      if (from == SIZE_MAX) continue;
      span.data = text.data + from;
      span.size = i - from;
      from = SIZE_MAX;
    }
  }
  *tags = opened > closed ? opened : closed;
  return span;
}

// The words of a text in lower case with one space between them; absent if there is no memory.
static attune_string words(const attune_host *host, attune_string text, bool punctuation, bool articles) {
  char *out = host->allocate(host, text.size + 1);
  attune_string result = {out, 0};
  size_t word = 0;  // where the word that is being written begins in `out`
  for (size_t i = 0; out && i <= text.size; i++) {
    if (i < text.size && !is_space(text.data[i])) {
      const char c = text.data[i];
      if (punctuation || !is_punctuation(c)) out[result.size++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
      continue;
    }
    if (!articles && is_article(out + word, result.size - word)) result.size = word;
    if (result.size > word) out[result.size++] = ' ';
    word = result.size;
  }
  if (result.size > 0) result.size--;
  return result;
}

// What is compared. A text of which nothing would be left (the answer "A", the answer "+") keeps more of itself.
static attune_string normalized(const attune_host *host, attune_string text) {
  attune_string result = words(host, text, false, false);
  if (result.data && result.size == 0) result = words(host, text, false, true);
  if (result.data && result.size == 0) result = words(host, text, true, true);
  return result;
}

static attune_string trimmed(attune_string text) {
  while (text.size > 0 && is_space(text.data[0])) text.data++, text.size--;
  while (text.size > 0 && is_space(text.data[text.size - 1])) text.size--;
  return text;
}

static bool joined(char a, char b) { return (is_letter(a) || is_digit(a)) && (is_letter(b) || is_digit(b)); }

// Whether `part` stands in the text as whole words: 5 is not in 15. Other scripts than ASCII need no spaces.
static bool holds(attune_string text, attune_string part) {
  const char *const end = text.data + text.size;
  for (const char *place = text.data; part.size > 0; place++) {
    place = memmem(place, (size_t)(end - place), part.data, part.size);
    if (!place) return false;
    const char *const behind = place + part.size;
    if ((place == text.data || !joined(place[-1], place[0])) && (behind == end || !joined(behind[-1], behind[0])))
      return true;
  }
  return false;
}

// The beginning of a text for the log, cut between two code points.
static attune_string shown(attune_string text) {
  if (text.size <= 120) return text;
  text.size = 120;
  while (text.size > 0 && ((unsigned char)text.data[text.size] & 0xC0) == 0x80) text.size--;
  return text;
}

static double body(const attune_call *call, const attune_sample *sample) {
  if (sample->reference_count == 0) {
    attune_log(call, "no reference");
    return attune_none();
  }
  const bool normalize = attune_parameter_bool(call, "normalize", true);
  const bool contains = attune_equal(attune_parameter_string(call, "mode"), attune_text("contains"));
  size_t tags;
  attune_string answer = answer_span(sample->completion, &tags);
  if (!answer.data && attune_parameter_bool(call, "require_tags", false)) {
    attune_log(call, "no closed <answer> span");
    return 0;
  }
  if (!answer.data) answer = sample->completion;
  answer = normalize ? normalized(call->host, answer) : trimmed(answer);
  if (!answer.data) return attune_fail(call, "no memory");

  for (size_t i = 0; i < sample->reference_count; i++) {
    const attune_string given = sample->references[i];
    const attune_string reference = normalize ? normalized(call->host, given) : trimmed(given);
    if (!reference.data) return attune_fail(call, "no memory");
    if (contains ? !holds(answer, reference) : !attune_equal(answer, reference)) continue;
    attune_log(call, contains ? "holds " : "is ");
    attune_log_string(call, shown(reference));
    if (tags <= 10) return 1;
    attune_log(call, "; quartered for more than ten answer tags");
    return 0.25;
  }
  attune_log(call, contains ? "does not hold " : "is not ");
  attune_log_string(call, shown(sample->reference));
  attune_note_add(call, "answer", answer);
  return 0;
}

static attune_status create(
    const attune_reward *self, const attune_host *host, attune_string given, void **instance, attune_error *error) {
  (void)self, (void)given, (void)instance;
  const attune_call call = {host, NULL, NULL, NULL, 0};
  const attune_string mode = attune_parameter_string(&call, "mode");
  if (attune_equal(mode, attune_text("exact")) || attune_equal(mode, attune_text("contains"))) return ATTUNE_OK;
  snprintf(error->message, error->capacity, "mode is '%s', expected exact or contains", mode.data);
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
    .produces = ATTUNE_PRODUCES_LOG | ATTUNE_PRODUCES_NOTES,
    .name = "exact_match",
    .summary = "1 if the answer is one of the references, whatever its case, punctuation and articles",
    .maximum = 1,
    .parameters = parameters,
    .create = create,
    .score = score};

ATTUNE_LIBRARY("exact_match", "1.0", &reward)
