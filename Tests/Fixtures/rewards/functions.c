// Functions that know nothing of Attune: what a library brings along that was never meant to be a reward.
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Numbers -------------------------------------------------------------------------------------------------------

signed char give_char(signed char x) { return x; }
unsigned char give_unsigned_char(unsigned char x) { return x; }
short give_short(short x) { return x; }
uint16_t give_uint16(uint16_t x) { return x; }
int give_int(int x) { return x; }
uint32_t give_uint32(uint32_t x) { return x; }
long give_long(long x) { return x; }
uint64_t give_uint64(uint64_t x) { return x; }
float give_float(float x) { return x; }
double give_double(double x) { return x; }
bool give_bool(bool x) { return x; }

// Ten integers and ten floating-point numbers: more than registers hold.
double many(
    int8_t a, double b, int16_t c, float d, int32_t e, double f, int64_t g, float h, uint8_t i, double j, uint16_t k,
    double l, uint32_t m, double n, uint64_t o, double p, int q, float r, int s, double t) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * (double)g + 8 * h + 9 * i + 10 * j + 11 * k + 12 * l + 13 * m +
         14 * n + 15 * (double)o + 16 * p + 17 * q + 18 * r + 19 * s + 20 * t;
}

// ---- Texts ---------------------------------------------------------------------------------------------------------

// How many bytes of a sized text are NUL.
double nul_bytes(const char *text, size_t size) {
  double count = 0;
  for (size_t i = 0; i < size; i++) count += text[i] == 0;
  return count + (text[size] != 0 ? 1000 : 0);
}

double same_texts(const char *a, const char *b) { return strcmp(a, b) == 0; }

int is_null(const void *pointer) { return pointer == NULL; }

double sum_doubles(const double *values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += values[i];
  return sum;
}

double sum_shorts(const int16_t *values, int count) {
  double sum = 0;
  for (int i = 0; i < count; i++) sum += values[i];
  return sum;
}

// ---- Tokens --------------------------------------------------------------------------------------------------------

double weigh_tokens(
    const int32_t *ids, const float *logprobs, const uint8_t *mask, const uint32_t *offsets, const float *entropies,
    size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += mask[i] * (ids[i] + 10 * logprobs[i] + 100 * offsets[i] + 1000 * entropies[i]);
  return sum;
}

// ---- Pictures ------------------------------------------------------------------------------------------------------

// The pixel at (x, y) as 0xRRGGBB.
double pixel(const uint8_t *pixels, int width, int height, int stride, int x, int y) {
  if (x < 0 || x >= width || y < 0 || y >= height) return NAN;
  const uint8_t *p = pixels + (size_t)y * (size_t)stride + 3 * (size_t)x;
  return p[0] * 65536 + p[1] * 256 + p[2];
}

double difference(const uint8_t *a, const uint8_t *b, size_t width, size_t height, size_t stride) {
  double sum = 0;
  for (size_t y = 0; y < height; y++)
    for (size_t x = 0; x < 3 * width; x++) sum += abs(a[y * stride + x] - b[y * stride + x]);
  return sum;
}

double byte_sum(const unsigned char *bytes, size_t size) {
  double sum = 0;
  for (size_t i = 0; i < size; i++) sum += bytes[i];
  return sum;
}

double scales(double x, double y) { return 100 * x + y; }

// ---- Results through pointers --------------------------------------------------------------------------------------

void grade(const char *text, double *score, double *length, int *vowels, char *log, size_t capacity) {
  *length = (double)strlen(text);
  *vowels = 0;
  for (const char *p = text; *p; p++) *vowels += strchr("aeiou", *p) != NULL;
  *score = *length > 0 ? *vowels / *length : NAN;
  snprintf(log, capacity, "%d of %zu", *vowels, strlen(text));
}

// 0, or the byte at which the text is no number.
int parse(const char *text, float *score, char *log) {
  char *end;
  *score = strtof(text, &end);
  if (!*end && end != text) return 0;
  strcpy(log, "no number");
  return (int)(end - text) + 1;
}

bool is_short(const char *text, double *score) {
  *score = 0.5;
  return strlen(text) < 4;
}

double credit(const int32_t *ids, size_t count, float *rewards) {
  for (size_t i = 0; i < count; i++)
    if (ids[i] % 2) rewards[i] = 0.25f * (float)ids[i];
  return (double)count;
}

void leaves_all_alone(double *score, double *part) { (void)score, (void)part; }

void writes_too_much(double *score) {
  score[0] = 1;
  score[1] = 2;
}

double writes_tokens_too_many(float *rewards, size_t count) {
  rewards[count] = 1;
  return 1;
}

double writes_into_the_text(char *text) {
  text[0] = 'X';
  return 1;
}

// ---- Functions of the host -----------------------------------------------------------------------------------------

double call_back(
    void (*log)(const char *), void (*metric)(const char *, double), uint64_t (*random)(uint64_t),
    int (*cancelled)(void), double (*column)(const char *), const char *(*column_text)(const char *)) {
  log("called back");
  metric("column", column("x"));
  if (cancelled()) return -1;
  if (!isnan(column("absent")) || column_text("absent") != NULL) return -2;
  if (strcmp(column_text("list"), "[1, 2]") != 0 || strcmp(column_text("word"), "ü") != 0) return -3;
  if (random(0) == random(1) || random(7) != random(7)) return -4;
  return (double)(random(3) % 1000);
}

double with_context(double (*column)(void *, const char *), bool (*cancelled)(void *), void *context) {
  return context == NULL && !cancelled(context) ? column(context, "x") : -1;
}

double context_last(double (*column)(const char *, void *), void *context) { return column("x", context); }

double ask(const char *text, const char *(*judge)(const char *)) {
  const char *answer = judge(text);
  return answer ? atof(answer) : NAN;
}

double waits_until_cancelled(int (*cancelled)(void)) {
  while (!cancelled()) {}
  return 1;
}

// ---- Trouble -------------------------------------------------------------------------------------------------------

double crash_on(const char *text, const char *wish) {
  if (strcmp(text, wish) == 0) raise(SIGSEGV);
  return 0.5;
}

double divide(double a, double b) { return a / b; }

int a_variable = 3;

// What C++ and Swift would call functions of these names.
double _Z8distancePKcS0_(const char *a, const char *b) { return strcmp(a, b); }
