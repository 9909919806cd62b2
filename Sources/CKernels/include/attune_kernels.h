// Attune's numerical kernels: no allocation, no globals but constant tables, no I/O.
//
// Batch invariance is the rule of this folder: every output is summed in one fixed order that depends on its own row and
// column alone, never on how many rows stand beside it, on the number of threads or on the instruction set. A product of
// f32 values is a fused multiply-add, k ascending, into one accumulator. Row reductions add element i into lane i mod 16,
// ascending, and fold the lanes 8, 4, 2, 1.
//
// One source, several builds: `isa/*.c` compile the families under `families/` for each instruction set, and for double
// (portable only; it exists so that gradients can be checked against finite differences).
//
// Conventions: outputs first, then inputs, sizes, scalars. Row-major arrays; shapes in brackets. Pointers are borrowed until
// return. Every array that a vector may overrun (all tensors) has at least 128 readable bytes behind its end.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __clang__
#pragma clang assume_nonnull begin
#endif

// ---- worker pool -----------------------------------------------------------------------------------------------------

/// Threads that run the chunks of one job at a time; see pool.c for the protocol.
typedef struct atk_pool atk_pool;

/// One chunk of a job. `worker` is below the pool's thread count and names this thread's scratch.
typedef void (*atk_chunk)(void *context, size_t chunk, size_t worker);

/// A pool of `threads` threads in all, the caller's included (1 starts none). NULL if a thread cannot be started.
atk_pool *_Nullable atk_pool_create(size_t threads);
/// Stops the threads and frees the pool; no job may be running.
void atk_pool_destroy(atk_pool *_Nullable pool);
size_t atk_pool_threads(const atk_pool *pool);
/// Runs every chunk once and returns when all are done. One caller at a time (the pool's owner sees to it).
void atk_pool_run(atk_pool *pool, atk_chunk run, void *_Nullable context, size_t chunks);

// ---- what a forest looks like to attention ---------------------------------------------------------------------------

/// Which key rows each query row sees. Spans are runs of key rows; a path lists spans from the root of a tree down.
/// A run is a stretch of query rows with one path: query i of a run sees every row of all spans of its path but the last,
/// and of the last the first `run_offset + i + 1` rows (causal) or all of them.
typedef struct atk_forest {
  size_t tree_count;
  const int32_t *tree_runs;    // [tree_count + 1] offsets into the runs
  const int32_t *tree_spans;   // [tree_count + 1] offsets into the spans
  const int32_t *run_query;    // [runs] first query row
  const int32_t *run_rows;     // [runs] number of query rows
  const int32_t *run_offset;   // [runs] index of the first query inside the last span
  const int32_t *run_path;     // [runs + 1] offsets into path
  const int32_t *path;         // span numbers, root first
  const int32_t *span_row;     // [spans] first key row
  const int32_t *span_rows;    // [spans] number of key rows
  bool causal;
} atk_forest;

/// Sizes of one attention call. Rows of q and output are `heads * size` wide, of k and v `kv_heads * size`.
typedef struct atk_attention_shape {
  size_t heads, kv_heads, size;
  size_t longest_path;  // largest number of key rows on a path
  size_t largest_tree;  // largest number of key rows in a tree
  double scale;         // multiplies q
} atk_attention_shape;

/// Per-token results of the fused head, each [rows], any may be NULL.
/// logprob = z[target] - lse; entropy = -sum p log p; lse of z; mean of z over the vocabulary; log of sum p^2;
/// top1 = 1 if the target has the largest z (the lowest id among equals), else 0. z = logits / temperature.
#define ATK_DECLARE_STREAMS(REAL, T)                                                                                   \
  typedef struct atk_head_streams_##T {                                                                                \
    REAL *_Nullable logprob, *_Nullable entropy, *_Nullable lse, *_Nullable mean, *_Nullable log_square,               \
        *_Nullable top1;                                                                                               \
  } atk_head_streams_##T;

// ---- the kernels -----------------------------------------------------------------------------------------------------

// clang-format off
#define ATK_DECLARE_TABLE(REAL, T)                                                                                     \
  typedef struct atk_table_##T {                                                                                       \
    const char *name;                                                                                                  \
    /* c[m,n] (+)= a[m,k] * b[k,n]; a at i*a_rs + l*a_ks; column block j of 16 of b at l*b_ks + j*b_vs */              \
    void (*matmul)(atk_pool *pool, REAL *c, size_t c_rs, const REAL *a, size_t a_rs, size_t a_ks, const REAL *b,       \
                   size_t b_ks, size_t b_vs, size_t m, size_t n, size_t k, bool accumulate);                           \
    /* panels [ceil(n/16)][k][16] of w[n,k]^T, zero beyond n */                                                        \
    void (*pack_rows)(atk_pool *pool, REAL *panels, const REAL *w, size_t n, size_t k);                                \
    /* panels [ceil(k/16)][n][16] of w[n,k], zero beyond k */                                                          \
    void (*pack_columns)(atk_pool *pool, REAL *panels, const REAL *w, size_t n, size_t k);                             \
    /* y[r,:] += bias */                                                                                               \
    void (*bias)(atk_pool *pool, REAL *y, const REAL *bias, size_t rows, size_t n);                                    \
    /* db += column sums of dy[rows,n], rows ascending */                                                              \
    void (*bias_backward)(atk_pool *pool, REAL *db, const REAL *dy, size_t rows, size_t n);                            \
    void (*add)(atk_pool *pool, REAL *y, const REAL *a, const REAL *b, size_t count);                                  \
    /* y += s * x */                                                                                                   \
    void (*add_scaled)(atk_pool *pool, REAL *y, const REAL *x, size_t count, double s);                                \
    void (*scale)(atk_pool *pool, REAL *y, const REAL *x, size_t count, double s);                                     \
    /* y[r,:] = x[index[r],:] */                                                                                       \
    void (*gather)(atk_pool *pool, REAL *y, const REAL *x, const int32_t *index, size_t rows, size_t n);               \
    /* x[index[r],:] = y[r,:]; indices distinct */                                                                     \
    void (*scatter)(atk_pool *pool, REAL *x, const REAL *y, const int32_t *index, size_t rows, size_t n);              \
    /* x[index[r],:] += y[r,:] with r ascending for each destination; destinations [0, destinations) */                \
    void (*scatter_add)(atk_pool *pool, REAL *x, const REAL *y, const int32_t *index, size_t rows, size_t n,           \
                        size_t destinations);                                                                          \
    /* y[r,:] = x[r, from : from + n] of rows that are `width` wide */                                                 \
    void (*columns)(atk_pool *pool, REAL *y, const REAL *x, size_t rows, size_t n, size_t width, size_t from);         \
    /* x[r, from : from + n] = y[r,:] */                                                                               \
    void (*put_columns)(atk_pool *pool, REAL *x, const REAL *y, size_t rows, size_t n, size_t width, size_t from);     \
    void (*rmsnorm)(atk_pool *pool, REAL *y, const REAL *x, const REAL *w, size_t rows, size_t n, double eps);         \
    /* dx = gradient; dw += gradient (NULL: not wanted); scratch [rows] */                                             \
    void (*rmsnorm_backward)(atk_pool *pool, REAL *dx, REAL *_Nullable dw, REAL *scratch, const REAL *dy,              \
                             const REAL *x, const REAL *w, size_t rows, size_t n, double eps);                         \
    void (*layernorm)(atk_pool *pool, REAL *y, const REAL *x, const REAL *w, const REAL *b, size_t rows, size_t n,     \
                      double eps);                                                                                     \
    /* as rmsnorm_backward; db += gradient of the bias; scratch [2 * rows] */                                          \
    void (*layernorm_backward)(atk_pool *pool, REAL *dx, REAL *_Nullable dw, REAL *_Nullable db, REAL *scratch,        \
                               const REAL *dy, const REAL *x, const REAL *w, size_t rows, size_t n, double eps);       \
    /* pairs (i, i + size/2) of each head turn by the row's angles; cosine, sine [rows, size/2]; sign -1 turns back */ \
    void (*rotary)(atk_pool *pool, REAL *y, const REAL *x, const REAL *cosine, const REAL *sine, size_t rows,          \
                   size_t heads, size_t size, double sign);                                                            \
    void (*swiglu)(atk_pool *pool, REAL *y, const REAL *gate, const REAL *up, size_t count);                           \
    void (*swiglu_backward)(atk_pool *pool, REAL *dgate, REAL *dup, const REAL *dy, const REAL *gate, const REAL *up,  \
                            size_t count);                                                                             \
    void (*gelu)(atk_pool *pool, REAL *y, const REAL *x, size_t count, bool tanh_form);                                \
    void (*gelu_backward)(atk_pool *pool, REAL *dx, const REAL *dy, const REAL *x, size_t count, bool tanh_form);      \
    /* output[q, heads*size], lse [q, heads]; scratch: attention_scratch values per thread of the pool */              \
    size_t (*attention_scratch)(const atk_attention_shape *shape);                                                     \
    void (*attention)(atk_pool *pool, REAL *output, REAL *_Nullable lse, REAL *scratch, const REAL *q, const REAL *k,  \
                      const REAL *v, const atk_forest *forest, const atk_attention_shape *shape);                      \
    size_t (*attention_backward_scratch)(const atk_attention_shape *shape);                                            \
    void (*attention_backward)(atk_pool *pool, REAL *dq, REAL *dk, REAL *dv, REAL *scratch, const REAL *d_output,      \
                               const REAL *output, const REAL *lse, const REAL *q, const REAL *k, const REAL *v,       \
                               const atk_forest *forest, const atk_attention_shape *shape);                            \
    /* streams of logits[rows, vocabulary] for targets[rows] */                                                        \
    void (*head)(atk_pool *pool, const atk_head_streams_##T *out, const REAL *logits, size_t stride,                   \
                 const int32_t *targets, size_t rows, size_t vocabulary, double temperature);                          \
    /* logits become their gradient; `d` holds the streams' gradients (top1 has none) */                               \
    void (*head_backward)(atk_pool *pool, REAL *logits, size_t stride, const atk_head_streams_##T *d,                  \
                          const int32_t *targets, size_t rows, size_t vocabulary, double temperature);                 \
    /* y = e^(x / temperature - largest of the row), for sampling */                                                   \
    void (*exponentials)(atk_pool *pool, REAL *y, const REAL *x, size_t rows, size_t n, double temperature);           \
    /* the multiply-adds of the matmul kernel on registers alone, `iterations` x 12 x 16 per thread; for benchmarks */  \
    void (*peak)(atk_pool *pool, REAL *sink, size_t iterations);                                                       \
    /* sum of squares in f64, blocks of 4096 in order; scratch [ceil(count / 4096)] */                                 \
    double (*sum_squares)(atk_pool *pool, double *scratch, const REAL *x, size_t count);                               \
    /* AdamW (1711.05101, torch's order): decay = 1 - lr*wd, step = lr / (1 - beta1^t), root = sqrt(1 - beta2^t) */    \
    void (*adamw)(atk_pool *pool, REAL *p, REAL *m, REAL *v, const REAL *g, size_t count, double gradient_scale,       \
                  double decay, double beta1, double beta2, double step, double root, double eps);                     \
  } atk_table_##T;
// clang-format on

ATK_DECLARE_STREAMS(float, f32)
ATK_DECLARE_STREAMS(double, f64)
ATK_DECLARE_TABLE(float, f32)
ATK_DECLARE_TABLE(double, f64)

/// Products of bf16 values, summed in f32. A pair holds elements 2i (low half) and 2i + 1 of the summed axis; an odd end is
/// padded with zero. For each pair: acc = fma(odd, odd, acc), then acc = fma(even, even, acc), subnormals flushed.
typedef struct atk_table_bf16 {
  const char *name;
  /// As `matmul` of f32, with a and b in pairs and k counted in pairs.
  void (*matmul)(atk_pool *pool, float *c, size_t c_rs, const uint32_t *a, size_t a_rs, size_t a_ks, const uint32_t *b,
                 size_t b_ks, size_t b_vs, size_t m, size_t n, size_t k, bool accumulate);
  /// Panels [ceil(n/16)][ceil(k/2)][16] of w[n,k]^T.
  void (*pack_rows)(atk_pool *pool, uint32_t *panels, const uint16_t *w, size_t n, size_t k);
  /// Panels [ceil(k/16)][ceil(n/2)][16] of w[n,k].
  void (*pack_columns)(atk_pool *pool, uint32_t *panels, const uint16_t *w, size_t n, size_t k);
  /// Pairs along each row: y[rows][ceil(k/2)] of x[rows,k], rounded to nearest even.
  void (*pair_rows)(atk_pool *pool, uint32_t *y, const float *x, size_t rows, size_t k);
  /// Pairs of neighbouring rows: y[ceil(rows/2)][k] of x[rows,k].
  void (*pair_columns)(atk_pool *pool, uint32_t *y, const float *x, size_t rows, size_t k);
  /// As `peak` of f32, with twice as many multiply-adds: pairs.
  void (*peak)(atk_pool *pool, float *sink, size_t iterations);
  void (*narrow)(atk_pool *pool, uint16_t *y, const float *x, size_t count);
  void (*widen)(atk_pool *pool, float *y, const uint16_t *x, size_t count);
} atk_table_bf16;

// ---- choosing an instruction set -------------------------------------------------------------------------------------

typedef struct atk_isa {
  const char *name;  // "avx512-bf16", "avx512", "avx2", "portable"
  const atk_table_f32 *f32;
  const atk_table_bf16 *bf16;
} atk_isa;

/// The instruction sets that this machine can run, best first; `count` receives how many.
const atk_isa *atk_isas(size_t *count);
/// The only double table: portable.
const atk_table_f64 *atk_f64(void);

/// exp and log in double that give the same bits on every machine (error below 1e-15 relative).
double atk_exp(double x);
double atk_log(double x);
/// sin and cos in double for |x| below 2^40, absolute error below 1e-15.
void atk_sincos(double x, double *sine, double *cosine);

#ifdef __clang__
#pragma clang assume_nonnull end
#endif
