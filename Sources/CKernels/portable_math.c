// exp, log, sin and cos in double from additions, multiplications, divisions and bit moves alone: the C library's differ
// by processor and by version, and one bit of a rotary table or of a log-sum-exp would change a run.
#include "attune_kernels.h"

#include <string.h>

static inline double from_bits(uint64_t u) {
  double d;
  memcpy(&d, &u, 8);
  return d;
}
static inline uint64_t to_bits(double d) {
  uint64_t u;
  memcpy(&u, &d, 8);
  return u;
}

static const double ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;

double atk_exp(double x) {
  if (x != x) return x;
  if (x > 709.782712893384) return from_bits(0x7ff0000000000000u);
  if (x < -745.2) return 0;
  const double round = 0x1.8p52;
  double n = (x * 0x1.71547652b82fep0 + round) - round;
  double r = (x - n * ln2_high) - n * ln2_low;  // |r| <= 0.3466
  double term = 1, sum = 1;
  // Taylor series; term 17 is below 1e-22.
  static const double inverse[] = {1.0,     1.0 / 2,  1.0 / 3,  1.0 / 4,  1.0 / 5,  1.0 / 6,  1.0 / 7,  1.0 / 8, 1.0 / 9,
                                   1.0 / 10, 1.0 / 11, 1.0 / 12, 1.0 / 13, 1.0 / 14, 1.0 / 15, 1.0 / 16, 1.0 / 17};
  double terms[18];
  for (int i = 0; i < 17; i++) {
    term = term * r * inverse[i];
    terms[i] = term;
  }
  double tail = 0;
  for (int i = 16; i >= 0; i--) tail += terms[i];
  sum += tail;
  int e = (int)n;
  // Two factors, so that results below the normal range round once more instead of vanishing.
  int half = e / 2;
  double a = from_bits((uint64_t)(1023 + half) << 52), b = from_bits((uint64_t)(1023 + e - half) << 52);
  return sum * a * b;
}

double atk_log(double x) {
  if (x != x || x < 0) return from_bits(0x7ff8000000000000u);
  if (x == 0) return from_bits(0xfff0000000000000u);
  uint64_t u = to_bits(x);
  if (u >> 52 == 0x7ff) return x;
  int e = 0;
  if (u >> 52 == 0) {
    x *= 0x1p54;
    u = to_bits(x);
    e = -54;
  }
  e += (int)(u >> 52) - 1023;
  double m = from_bits((u & 0xfffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    e += 1;
  }
  double s = (m - 1) / (m + 1), z = s * s;  // |s| <= 0.1716
  double sum = 0;
  for (int i = 23; i >= 3; i -= 2) sum = (sum + 1.0 / i) * z;
  return e * ln2_high + (2 * s + (2 * s * sum + e * ln2_low));
}

void atk_sincos(double x, double *sine, double *cosine) {
  // Quadrant by subtraction of n * pi/2 in three parts of 33 bits each: exact products for n below 2^20, and an error far
  // below an f32 ulp for the positions that a context window can hold.
  const double a = 0x1.921fb544p0, b = 0x1.0b4611a6p-34, c = 0x1.3198a2e037073p-69;
  const double round = 0x1.8p52;
  double n = (x * 0x1.45f306dc9c883p-1 + round) - round;
  double r = ((x - n * a) - n * b) - n * c;
  double z = r * r;
  double s = 0, k = 0;
  static const double sines[] = {-1.0 / 6,           1.0 / 120,           -1.0 / 5040,          1.0 / 362880,
                                 -1.0 / 39916800,    1.0 / 6227020800.0,  -1.0 / 1307674368000.0, 1.0 / 355687428096000.0};
  static const double cosines[] = {-1.0 / 2,        1.0 / 24,          -1.0 / 720,           1.0 / 40320,
                                   -1.0 / 3628800,  1.0 / 479001600.0, -1.0 / 87178291200.0, 1.0 / 20922789888000.0};
  for (int i = 7; i >= 0; i--) {
    s = (s + sines[i]) * z;
    k = (k + cosines[i]) * z;
  }
  double sin_r = r + r * s, cos_r = 1 + k;
  switch ((long long)n & 3) {
    case 0: *sine = sin_r, *cosine = cos_r; break;
    case 1: *sine = cos_r, *cosine = -sin_r; break;
    case 2: *sine = -sin_r, *cosine = -cos_r; break;
    default: *sine = -cos_r, *cosine = sin_r; break;
  }
}
