// multiple_choice: whether the letter that the completion chooses is the right one.
//
// The letter is looked for in the last closed <answer> span, else in the last \boxed{}, else in the whole completion. A
// text that is nothing but a letter (brackets and punctuation aside) names it in either case; a text that is a choice of
// the column `choices` names that choice; otherwise the last capital letter that stands alone counts.

#include "attune_reward.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const attune_parameter choices_parameter = ATTUNE_PARAMETER_NUMBER(
    "choices", "8", "how many letters there are, from A on, where the row has no column choices", 2, 26);

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_alphanumeric(char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_'; }
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 32) : c; }
// The byte at a place, 0 behind the end.
static char byte(attune_string text, size_t i) { return i < text.size ? text.data[i] : 0; }

static bool at(attune_string text, size_t i, const char *word) {
  const size_t size = strlen(word);
  return text.size - i >= size && memcmp(text.data + i, word, size) == 0;
}

// The text of the last closed <answer> span, absent if there is none.
static attune_string answer_span(attune_string text) {
  attune_string span = {NULL, 0};
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

// What the last \boxed{} holds, absent if there is none or its braces do not match.
static attune_string boxed(attune_string text) {
  attune_string inside = {NULL, 0};
  size_t from = SIZE_MAX;
  for (size_t i = 0; i < text.size; i++)
    if (text.data[i] == '\\' && at(text, i, "\\boxed{")) from = i + strlen("\\boxed{");
  size_t depth = 1;
  for (size_t i = from; i < text.size; i++) {
    depth += text.data[i] == '{';
    depth -= text.data[i] == '}';
    if (depth > 0) continue;
    inside.data = text.data + from;
    inside.size = i - from;
    break;
  }
  return inside;
}

// The letter of a text without letters and digits but one, 0 for any other.
static char bare_letter(attune_string text) {
  char found = 0;
  for (size_t i = 0; i < text.size; i++) {
    if (!is_alphanumeric(text.data[i]) && (unsigned char)text.data[i] < 128) continue;
    if (found || !is_letter(text.data[i])) return 0;
    found = upper(text.data[i]);
  }
  return found;
}

// The letter of the choice whose text this is, whatever its ASCII case; 0 if it is none.
static char choice_letter(const attune_call *call, attune_string text, attune_value choices, int count) {
  while (text.size > 0 && is_space(text.data[0])) text.data++, text.size--;
  while (text.size > 0 && is_space(text.data[text.size - 1])) text.size--;
  for (int i = 0; choices.type == ATTUNE_LIST && i < count; i++) {
    char path[16];
    snprintf(path, sizeof path, "[%d]", i);
    const attune_string choice = attune_json(call, choices.text, path).text;
    bool equal = choice.data && choice.size == text.size;
    for (size_t j = 0; equal && j < text.size; j++) equal = upper(choice.data[j]) == upper(text.data[j]);
    if (equal) return (char)('A' + i);
  }
  return 0;
}

// The last capital letter of the first `count` that stands alone: not in a word, and not as in A's or T-shirt.
static char last_letter(attune_string text, int count) {
  char found = 0;
  for (size_t i = 0; i < text.size; i++) {
    if (text.data[i] < 'A' || text.data[i] >= 'A' + count) continue;
    if (i > 0 && is_alphanumeric(text.data[i - 1])) continue;
    if (i > 1 && text.data[i - 1] == '-' && is_alphanumeric(text.data[i - 2])) continue;
    const char next = byte(text, i + 1);
    if (is_alphanumeric(next) || ((next == '\'' || next == '-') && is_alphanumeric(byte(text, i + 2)))) continue;
    found = text.data[i];
  }
  return found;
}

static char chosen(const attune_call *call, attune_string text, attune_value choices, int count) {
  const char bare = bare_letter(text);
  if (bare && bare < 'A' + count) return bare;
  const char choice = choice_letter(call, text, choices, count);
  return choice ? choice : last_letter(text, count);
}

ATTUNE_REWARD_WITH(
    multiple_choice, "1 for the right letter, in an answer span, in a box or standing alone", 0, &choices_parameter) {
  if (!sample->reference.data) {
    attune_log(call, "no reference");
    return attune_none();
  }
  const attune_value choices = attune_column(call, "choices");
  double listed = choices.type == ATTUNE_LIST ? choices.number : attune_parameter_double(call, "choices", 8);
  const int count = listed > 26 ? 26 : (int)listed;
  const char right = chosen(call, sample->reference, choices, count);
  if (!right) return attune_invalid(call, "the reference is neither a letter nor a choice");

  attune_string text = answer_span(sample->completion);
  if (!text.data) text = boxed(sample->completion);
  if (!text.data) text = sample->completion;
  const char letter = chosen(call, text, choices, count);
  char line[32];
  if (letter)
    snprintf(line, sizeof line, "chose %c, expected %c", letter, right);
  else
    snprintf(line, sizeof line, "chose no letter, expected %c", right);
  attune_log(call, line);
  return letter == right ? 1 : 0;
}
