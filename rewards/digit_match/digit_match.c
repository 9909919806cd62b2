// digit_match: how right the number in the completion is.
//
// The answer is the digits after the last <answer> up to </answer>; without tags, the last run of digits. The
// reference is the sample's reference, or the column `reference`. The score is the share of digits that are right,
// position by position from the left, over the longer of the two numbers: 1 for the exact answer.

#include "attune_reward.h"

#include <stdint.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Where the last copy of `word` that ends at or before `end` begins; SIZE_MAX if there is none. Texts may hold NULs, so
// that the functions of string.h for C strings would not do.
static size_t last_place(attune_string text, size_t end, const char *word) {
  const size_t size = strlen(word);
  for (size_t start = end < size ? 0 : end - size + 1; start-- > 0;)
    if (memcmp(text.data + start, word, size) == 0) return start;
  return SIZE_MAX;
}

// The text between the last <answer> that is closed and the first </answer> after it, else the whole text.
static attune_string inside_tags(attune_string text, bool *tagged) {
  const size_t last_close = last_place(text, text.size, "</answer>");
  const size_t open = last_close == SIZE_MAX ? SIZE_MAX : last_place(text, last_close, "<answer>");
  *tagged = open != SIZE_MAX;
  if (!*tagged) return text;
  const size_t from = open + strlen("<answer>");
  size_t to = from;
  while (memcmp(text.data + to, "</answer>", strlen("</answer>")) != 0) to++;
  const attune_string inside = {text.data + from, to - from};
  return inside;
}

// The last run of digits; absent if there is none.
static attune_string last_digits(attune_string text) {
  size_t end = text.size;
  while (end > 0 && !is_digit(text.data[end - 1])) end--;
  size_t start = end;
  while (start > 0 && is_digit(text.data[start - 1])) start--;
  const attune_string run = {end > start ? text.data + start : NULL, end - start};
  return run;
}

static double share_of_digits(attune_string a, attune_string b) {
  const size_t longer = a.size > b.size ? a.size : b.size;
  const size_t shorter = a.size > b.size ? b.size : a.size;
  size_t right = 0;
  for (size_t i = 0; i < shorter; i++) right += a.data[i] == b.data[i];
  return longer ? (double)right / (double)longer : 0;
}

ATTUNE_REWARD(digit_match, "share of digits that are right and in their places, 1 for the right number") {
  attune_string reference = sample->reference;
  if (!reference.data) reference = attune_column_json(call, "reference");
  const attune_string truth = last_digits(reference);
  if (!truth.data) return attune_invalid(call, "the reference holds no number");

  bool tagged;
  const attune_string answer = last_digits(inside_tags(sample->completion, &tagged));
  const bool exact = answer.data && attune_equal(answer, truth);
  const double digits = answer.data ? share_of_digits(answer, truth) : 0;
  attune_component_add(call, "exact", exact ? 1 : 0);
  attune_component_add(call, "digits", digits);
  if (!answer.data) {
    attune_log(call, "no number in the completion, expected ");
  } else {
    attune_log(call, tagged ? "answer " : "no answer tags, last number ");
    attune_log_string(call, answer);
    attune_log(call, exact ? " is right, expected " : ", expected ");
  }
  attune_log_string(call, truth);
  return digits;
}
