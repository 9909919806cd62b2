// iou: how well a predicted box covers the true one: the area of their intersection over the area of their union.
//
// The prediction is the last box of the last closed <answer> span, else of the whole completion: [x1, y1, x2, y2] or
// (x1, y1), (x2, y2), the upper left corner first. It is in the coordinates that the model writes, and is rescaled to
// pixels of the picture; the column with the true box is in pixels of the picture.

#include "attune_reward.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const attune_parameter column_parameter =
    ATTUNE_PARAMETER_STRING("column", "\"box\"", "the column with the true box, in pixels of the picture");
static const attune_parameter threshold_parameter =
    ATTUNE_PARAMETER_NUMBER("threshold", "0", "above 0: score 1 from this IoU on, else 0", 0, 1);
static const attune_parameter image_parameter =
    ATTUNE_PARAMETER_NUMBER("image", "0", "the number of the picture that holds the box", 0, 1e6);
static const attune_parameter coordinates_parameter = ATTUNE_PARAMETER_STRING(
    "coordinates", "\"model\"", "model: the completion's box is rescaled; picture: it is in pixels of the picture");

typedef struct box {
  double side[4];  // x1, y1, x2, y2
} box;

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

// Reads what `form` describes from i on: '#' is a number of the box, any other character itself, and white space may
// stand everywhere. Numbers are digits with a point among them, and a minus.
static bool parse(attune_string text, size_t i, const char *form, box *out) {
  for (int number = 0; *form; form++) {
    while (i < text.size && (text.data[i] == ' ' || (text.data[i] >= '\t' && text.data[i] <= '\r'))) i++;
    if (*form != '#') {
      if (i >= text.size || text.data[i++] != *form) return false;
      continue;
    }
    char digits[32];
    size_t size = 0;
    while (i < text.size && size < sizeof digits - 1 && strchr("-.0123456789", text.data[i]) && text.data[i])
      digits[size++] = text.data[i++];
    digits[size] = 0;
    char *end;
    out->side[number++] = strtod(digits, &end);
    if (size == 0 || end != digits + size) return false;
  }
  return true;
}

// The last box of a text.
static bool last_box(attune_string text, box *out) {
  bool found = false;
  for (size_t i = 0; i < text.size; i++) {
    box candidate;
    if ((text.data[i] == '[' && parse(text, i, "[#,#,#,#]", &candidate)) ||
        (text.data[i] == '(' &&
         (parse(text, i, "(#,#),(#,#)", &candidate) || parse(text, i, "(#,#)(#,#)", &candidate)))) {
      *out = candidate;
      found = true;
    }
  }
  return found;
}

static double area(box b) { return fmax(0, b.side[2] - b.side[0]) * fmax(0, b.side[3] - b.side[1]); }

static double overlap(box a, box b) {
  const box both = {{fmax(a.side[0], b.side[0]), fmax(a.side[1], b.side[1]), fmin(a.side[2], b.side[2]),
                     fmin(a.side[3], b.side[3])}};
  const double shared = area(both), whole = area(a) + area(b) - shared;
  return area(a) > 0 && whole > 0 ? shared / whole : 0;
}

ATTUNE_REWARD_WITH(
    iou, "intersection over union of one predicted box with the true one", ATTUNE_NEEDS_IMAGES, &column_parameter,
    &threshold_parameter, &image_parameter, &coordinates_parameter) {
  const attune_string column = attune_parameter_string(call, "column");
  const attune_value given = attune_column(call, column.data);
  if (given.type == ATTUNE_ABSENT || given.type == ATTUNE_NULL) {
    attune_log(call, "no column ");
    attune_log_string(call, column);
    return attune_none();
  }
  box truth;
  if (!last_box(given.text, &truth) || area(truth) <= 0) {
    attune_log(call, "no box with an area in the column ");
    return attune_invalid(call, column.data);
  }
  double scale_x = 1, scale_y = 1;
  if (!attune_equal(attune_parameter_string(call, "coordinates"), attune_text("picture"))) {
    const double number = attune_parameter_double(call, "image", 0);
    if (number >= (double)sample->image_count) return attune_invalid(call, "there is no such picture");
    scale_x = sample->images[(size_t)number]->scale_x;
    scale_y = sample->images[(size_t)number]->scale_y;
    if (isnan(scale_x) || isnan(scale_y)) return attune_invalid(call, "the picture's size in the model is unknown");
  }
  box predicted;
  if (!last_box(answer(sample->completion), &predicted)) {
    attune_component_add(call, "iou", 0);
    attune_log(call, "no box");
    return 0;
  }
  for (int i = 0; i < 4; i++) predicted.side[i] *= i % 2 ? scale_y : scale_x;
  const double value = overlap(predicted, truth);
  const double threshold = attune_parameter_double(call, "threshold", 0);
  char line[160];
  snprintf(
      line, sizeof line, "[%.6g, %.6g, %.6g, %.6g] in pixels, IoU %.4f", predicted.side[0], predicted.side[1],
      predicted.side[2], predicted.side[3], value);
  attune_log(call, line);
  attune_component_add(call, "iou", value);
  return threshold > 0 ? (value >= threshold ? 1 : 0) : value;
}
