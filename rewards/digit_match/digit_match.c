// digit_match: how right the number in the completion is.
//
// The answer is the digits after the last <answer> up to </answer>; without tags, the last run of digits. The
// reference is the sample's reference, or the column `reference`. An exact answer scores 1. Any other scores half of
// the share of digits that are right, position by position from the left, over the longer of the two numbers.

#include "attune_reward.h"

#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The text between the last <answer> and the </answer> after it, else the whole text. Texts may hold NULs, so that
// nothing here relies on them.
static attune_string inside_tags(attune_string text, bool *tagged) {
  static const char open[] = "<answer>", close[] = "</answer>";
  const size_t open_size = sizeof(open) - 1, close_size = sizeof(close) - 1;
  *tagged = false;
  for (size_t start = text.size; start-- > 0;) {
    if (text.size - start < open_size || memcmp(text.data + start, open, open_size) != 0) continue;
    const size_t from = start + open_size;
    for (size_t end = from; end + close_size <= text.size; end++) {
      if (memcmp(text.data + end, close, close_size) == 0) {
        *tagged = true;
        const attune_string inside = {text.data + from, end - from};
        return inside;
      }
    }
  }
  return text;
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

ATTUNE_REWARD(digit_match, "1 for the right number, up to a half for right digits in their places") {
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
  return exact ? 1 : 0.5 * digits;
}
