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

/// Which keys each query row sees. Keys stand in pages of 64; a path lists pieces of pages from the root of a tree down.
/// A run is a stretch of query rows with one path: its query i sees the first `run_seen + i` keys of the path (causal) or
/// the first `run_seen` (not causal). Blocks cut the runs into stretches of 16 rows, or join runs of one row each, with
/// consecutive rows, whose paths begin with the same pieces.
typedef struct atk_forest {
  size_t tree_count, block_count;
  const int32_t *tree_runs;   // [tree_count + 1] offsets into the runs
  const int32_t *run_query;   // [runs] first query row
  const int32_t *run_rows;    // [runs] number of query rows
  const int32_t *run_seen;    // [runs] keys that the first query sees
  const int32_t *run_path;    // [runs] first piece
  const int32_t *piece_page;  // [pieces] page
  const int32_t *piece_lane;  // [pieces] first key inside the page
  const int32_t *piece_rows;  // [pieces] number of keys
  const int32_t *block_run;   // [block_count] run
  const int32_t *block_row;   // [block_count] first row inside the run
  const int32_t *block_runs;  // [block_count] number of runs: more than 1 joins runs of one row
  const int32_t *block_shared;  // [block_count] pieces that the paths of joined runs have in common
  bool causal;
} atk_forest;

/// Sizes of one attention call. The head h of a query row begins at h * size, that of a key or value row likewise.
typedef struct atk_attention_shape {
  size_t heads, kv_heads, size, value_size;  // size of queries and keys, and of values
  size_t window;                             // keys that a query sees, itself included; 0 for all
  size_t q_stride, k_stride, v_stride;     // elements between rows
  size_t dq_stride, dk_stride, dv_stride;  // the same for gradients
  size_t longest_path;                     // largest number of keys on a path
  double scale;                            // multiplies q
} atk_attention_shape;

/// Heads of latent attention: of a query and a key `plain` columns are their own, `turned` follow that rotary angles turn
/// (an even number); a value has `value` columns.
typedef struct atk_latent_heads {
  size_t heads, plain, turned, value;
} atk_latent_heads;

/// How a router turns scores into choices and weights. The experts, in `groups` of equal size, compete by score, or by the
/// sigmoid of it plus `bias` (of the scores' type; NULL: none); only the `kept_groups` whose `group_best` best values add up to most
/// take part. Weights are probabilities by softmax or sigmoid, over the sum of the chosen if normalized, times `scale`.
typedef struct atk_routing {
  size_t choices, groups, kept_groups, group_best;
  bool sigmoid, normalized;
  double scale;
  const void *_Nullable bias;
} atk_routing;

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
#define ATK_DECLARE_TABLE(REAL, T)                                                                                          \
  typedef struct atk_table_##T {                                                                                            \
    const char *name;                                                                                                       \
    /* c[m,n] (+)= a[m,k] * b[k,n]; row i of a at i/12*a_ps + i%12*a_rs (a_ps 0: at i*a_rs), its element l at l*a_ks; */    \
    /* column block j of 16 of b at l*b_ks + j*b_vs */                                                                      \
    void (*matmul)(atk_pool *pool, REAL *c, size_t c_rs, const REAL *a, size_t a_rs, size_t a_ks, size_t a_ps,              \
                   const REAL *b, size_t b_ks, size_t b_vs, size_t m, size_t n, size_t k, bool accumulate);                 \
    /* c[m,n] (+)= a[m,k] * w[k,n] from the panels of w that pack_rows made; across = n; */                                 \
    /* scratch: matmul_turned_scratch elements per thread */                                                                \
    size_t (*matmul_turned_scratch)(void);                                                                                  \
    void (*matmul_turned)(atk_pool *pool, REAL *c, size_t c_rs, const REAL *a, size_t a_rs, const REAL *panels,             \
                          size_t across, REAL *scratch, size_t m, size_t n, size_t k, bool accumulate);                     \
    /* panels [..][k][16] of w[n,k]^T: row i of w becomes row first + i */                                                  \
    void (*pack_rows)(atk_pool *pool, REAL *panels, const REAL *w, size_t n, size_t k, size_t first);                       \
    /* panels [ceil(k/width)][n][width] of w[n,k], width 12 or 16; rows of w `stride` apart */                                     \
    void (*pack_columns)(atk_pool *pool, REAL *panels, const REAL *w, size_t stride, size_t n, size_t k, size_t width);    \
    /* y[r,:n] += bias; rows `stride` apart */                                                                              \
    void (*bias)(atk_pool *pool, REAL *y, size_t stride, const REAL *bias, size_t rows, size_t n);                          \
    /* db += column sums of dy[rows,n], rows ascending and `stride` apart */                                                \
    void (*bias_backward)(atk_pool *pool, REAL *db, const REAL *dy, size_t stride, size_t rows, size_t n);                  \
    void (*add)(atk_pool *pool, REAL *y, const REAL *a, const REAL *b, size_t count);                                       \
    /* y += s * x */                                                                                                        \
    void (*add_scaled)(atk_pool *pool, REAL *y, const REAL *x, size_t count, double s);                                     \
    void (*scale)(atk_pool *pool, REAL *y, const REAL *x, size_t count, double s);                                          \
    /* columns [from, from + n) of y or, where given, of y16 = s times those of x; all rows `stride` wide */                \
    void (*scale_columns)(atk_pool *pool, REAL *_Nullable y, uint16_t *_Nullable y16, const REAL *x, size_t rows, size_t n, \
                          size_t stride, size_t from, double s);                                                            \
    /* y[r,:] = x[index[r],:] */                                                                                            \
    void (*gather)(atk_pool *pool, REAL *y, const REAL *x, const int32_t *index, size_t rows, size_t n);                    \
    /* x[index[r],:n] = y[r,:n], rows of y `stride` apart; indices distinct */                                                                          \
    void (*scatter)(atk_pool *pool, REAL *x, const REAL *y, size_t stride, const int32_t *index, size_t rows, size_t n); \
    /* x[index[r],:] += y[r,:] with r ascending for each destination; destinations [0, destinations) */                     \
    void (*scatter_add)(atk_pool *pool, REAL *x, const REAL *y, const int32_t *index, size_t rows, size_t n,                \
                        size_t destinations);                                                                               \
    /* y[r, 0 : n] = x[r, 0 : n], rows their strides apart */                                                               \
    void (*copy_columns)(atk_pool *pool, REAL *y, size_t y_stride, const REAL *x, size_t stride, size_t rows, size_t n);    \
    /* y[rows, n * group]: y[r, c * group + i] = x[index[r * group + i], c], 0 where the index is negative */               \
    void (*group_rows)(atk_pool *pool, REAL *y, const REAL *x, const int32_t *index, size_t rows, size_t n, size_t group);  \
    /* its gradient, where row r of x is the member slots[r] % group of row slots[r] / group, or of none (negative) */      \
    void (*ungroup_rows)(atk_pool *pool, REAL *dx, const REAL *dy, const int32_t *slots, size_t rows, size_t n,             \
                         size_t group);                                                                                     \
    /* Where a kernel takes y16, the result goes there rounded to bf16 instead of to y. */                                  \
    void (*rmsnorm)(atk_pool *pool, REAL *_Nullable y, uint16_t *_Nullable y16, const REAL *x, const REAL *w, size_t rows,  \
                    size_t n, double eps);                                                                                  \
    /* dx = gradient; dw += gradient (NULL: not wanted); scratch [rows] */                                                  \
    void (*rmsnorm_backward)(atk_pool *pool, REAL *dx, REAL *_Nullable dw, REAL *scratch, const REAL *dy,                   \
                             const REAL *x, const REAL *w, size_t rows, size_t n, double eps);                              \
    void (*layernorm)(atk_pool *pool, REAL *_Nullable y, uint16_t *_Nullable y16, const REAL *x, const REAL *w,             \
                      const REAL *b, size_t rows, size_t n, double eps);                                                    \
    /* as rmsnorm_backward; db += gradient of the bias; scratch [2 * rows] */                                               \
    void (*layernorm_backward)(atk_pool *pool, REAL *dx, REAL *_Nullable dw, REAL *_Nullable db, REAL *scratch,             \
                               const REAL *dy, const REAL *x, const REAL *w, size_t rows, size_t n, double eps);            \
    /* each head over its root mean square times w (unless NULL), then pairs (i, i + size/2) turned by the row's angles; */ \
    /* cosine, sine [rows, size/2]; sign -1 turns back; y and x rows their strides apart */                                 \
    void (*heads)(atk_pool *pool, REAL *y, size_t y_stride, const REAL *x, size_t stride, const REAL *_Nullable w,          \
                  const REAL *cosine, const REAL *sine, size_t rows, size_t heads, size_t size, double eps, double sign);   \
    /* gradient of the norm of `heads`: dy [rows, heads*size] turned back already; dw += gradient; scratch [rows*heads] */  \
    void (*heads_backward)(atk_pool *pool, REAL *dx, size_t dx_stride, REAL *_Nullable dw, REAL *scratch, const REAL *dy,   \
                           const REAL *x, size_t stride, const REAL *w, size_t rows, size_t heads, size_t size, double eps);\
    /* queries and keys [rows, heads * (plain + turned)] and values [rows, heads * value] of latent attention, from queries */ \
    /* of that shape, rows of (plain key, value) for every head, and a key [rows, turned] that all heads share */           \
    void (*latent_heads)(atk_pool *pool, REAL *q, REAL *k, REAL *v, const REAL *query, const REAL *key_value,               \
                         const REAL *key, size_t key_stride, const REAL *cosine, const REAL *sine, size_t rows,             \
                         const atk_latent_heads *shape);                                                                    \
    void (*latent_heads_backward)(atk_pool *pool, REAL *d_query, REAL *d_key_value, REAL *d_key, size_t key_stride,         \
                                  const REAL *dq, const REAL *dk, const REAL *dv, const REAL *cosine,                       \
                                  const REAL *sine, size_t rows, const atk_latent_heads *shape);                            \
    /* y[rows,n] = silu(gate) * up for rows [gate | up] of x */                                                             \
    void (*swiglu)(atk_pool *pool, REAL *_Nullable y, uint16_t *_Nullable y16, const REAL *x, size_t rows, size_t n);       \
    void (*swiglu_backward)(atk_pool *pool, REAL *_Nullable dx, uint16_t *_Nullable dx16, const REAL *dy, const REAL *x, \
                            size_t rows, size_t n);\
    void (*gelu)(atk_pool *pool, REAL *_Nullable y, uint16_t *_Nullable y16, const REAL *x, size_t count, bool tanh_form);  \
    void (*gelu_backward)(atk_pool *pool, REAL *dx, const REAL *dy, const REAL *x, size_t count, bool tanh_form);           \
    /* pages [..][heads][size][64]: row r of x to slot slots[r] (NULL: r), slot s being key s%64 of page s/64 */            \
    void (*to_pages)(atk_pool *pool, REAL *pages, const REAL *x, size_t stride, const int32_t *_Nullable slots, size_t rows,\
                     size_t heads, size_t size);                                                                            \
    /* output[q, heads*size], lse [q, heads]; kt: pages of keys, v: rows of values at their slots; */                       \
    /* scratch: attention_scratch values per thread of the pool */                                                          \
    size_t (*attention_scratch)(const atk_attention_shape *shape);                                                          \
    void (*attention)(atk_pool *pool, REAL *_Nullable output, uint16_t *_Nullable output16, REAL *_Nullable lse,            \
                      REAL *scratch, const REAL *q, const REAL *kt, const REAL *v, const atk_forest *forest,                \
                      const atk_attention_shape *shape);                                                                    \
    /* dq, dk, dv of a forest whose keys are its own query rows; kt, vt: pages of keys and of values, k: rows of keys */    \
    size_t (*attention_backward_scratch)(const atk_attention_shape *shape);                                                 \
    void (*attention_backward)(atk_pool *pool, REAL *dq, REAL *dk, REAL *dv, REAL *scratch, const REAL *d_output,           \
                               const REAL *lse, const REAL *q, const REAL *k, const REAL *kt, const REAL *vt,               \
                               const atk_forest *forest, const atk_attention_shape *shape);                                 \
    /* streams of logits[rows, vocabulary] for targets[rows] */                                                             \
    void (*head)(atk_pool *pool, const atk_head_streams_##T *out, const REAL *logits, size_t stride,                        \
                 const int32_t *targets, size_t rows, size_t vocabulary, double temperature);                               \
    /* logits become their gradient; `d` holds the streams' gradients (top1 has none) */                                    \
    void (*head_backward)(atk_pool *pool, REAL *logits, size_t stride, const atk_head_streams_##T *d,                       \
                          const int32_t *targets, size_t rows, size_t vocabulary, double temperature);                      \
    /* the k experts with the largest scores[rows,n] of every row, ids[rows,k] ascending (the lowest among equals goes */   \
    /* first), and their weights[rows,k]; work [rows, n + groups], wanted for sigmoid or several groups */                  \
    void (*route)(atk_pool *pool, REAL *weights, int32_t *ids, REAL *_Nullable work, const REAL *scores, size_t rows,       \
                  size_t n, const atk_routing *rule);                                                                       \
    void (*route_backward)(atk_pool *pool, REAL *d_scores, const REAL *d_weights, const REAL *weights,                      \
                           const REAL *scores, const int32_t *ids, size_t rows, size_t n, const atk_routing *rule);         \
    /* y[r] = x[index[r]], rows of any type, `bytes` long; zero where the index is negative */                              \
    void (*expert_rows)(atk_pool *pool, void *y, const void *x, const int32_t *index, size_t rows, size_t bytes);           \
    /* y[r,:n] = sum over j < k, ascending, of weights[r,j] x[places[r,j],:n]; weights NULL: 1 */                           \
    void (*combine)(atk_pool *pool, REAL *y, const REAL *x, const REAL *_Nullable weights, const int32_t *places,           \
                    size_t rows, size_t n, size_t k);                                                                       \
    /* for every row r of x with slots[r] = row of y * k + j: dx and d_weights[slot]; dx = 0 where the slot is negative */  \
    void (*combine_backward)(atk_pool *pool, REAL *dx, REAL *d_weights, const REAL *dy, const REAL *x,                      \
                             const REAL *weights, const int32_t *slots, size_t rows, size_t n, size_t k);                   \
    /* rows offsets[e] ..< offsets[e + 1] of c[..,n] = those of a[..,k] * b_e, for experts e; panels[e] as matmul reads */  \
    /* them, NULL only for an expert without rows */                                                                        \
    void (*matmul_experts)(atk_pool *pool, REAL *c, size_t c_rs, const REAL *a, size_t a_rs,                                \
                           const REAL *_Nullable const *_Nonnull panels, const int32_t *offsets, size_t experts, size_t n,  \
                           size_t k);                                                                                       \
    /* the same as matmul_turned does it: c[..,n] = a[..,k] * w_e[k,n] from the panels of w_e; across = n */                \
    void (*matmul_experts_turned)(atk_pool *pool, REAL *c, size_t c_rs, const REAL *a, size_t a_rs,                         \
                                  const REAL *_Nullable const *_Nonnull panels, size_t across, REAL *scratch,               \
                                  const int32_t *offsets, size_t experts, size_t n, size_t k);                              \
    /* y = e^(x / temperature - largest of the row), for sampling */                                                   \
    void (*exponentials)(atk_pool *pool, REAL *y, const REAL *x, size_t rows, size_t n, double temperature);           \
    /* ids[rows] drawn from softmax(logits / temperature) by uniforms[rows] in [0, 1), and their log-probabilities; */      \
    /* scratch [threads, ceil(vocabulary / 256)] */                                                                         \
    void (*sample)(atk_pool *pool, int32_t *ids, REAL *logprobs, double *scratch, const REAL *logits, size_t stride,        \
                   const double *uniforms, size_t rows, size_t vocabulary, double temperature);                             \
    /* the id of the largest logit of each row, the lowest among equals */                                                  \
    void (*likeliest)(atk_pool *pool, int32_t *ids, const REAL *logits, size_t stride, size_t rows, size_t vocabulary);     \
    /* reads `count` values once, in blocks of 65536; for benchmarks. sink [threads] */                                     \
    void (*read)(atk_pool *pool, REAL *sink, const REAL *from, size_t count);                                               \
    /* the multiply-adds of the matmul kernel on registers alone, `iterations` x 20 x 16 per thread; for benchmarks */      \
    void (*peak)(atk_pool *pool, REAL *sink, size_t iterations);                                                            \
    /* y[r,i] = x[r,i] * w[i]; y may be x */                                                                                \
    void (*scale_by_column)(atk_pool *pool, REAL *y, size_t y_stride, const REAL *x, size_t x_stride, const REAL *w,        \
                            size_t rows, size_t n);                                                                         \
    /* y = a / b */                                                                                                         \
    void (*quotient)(atk_pool *pool, REAL *y, const REAL *a, const REAL *b, size_t n);                                      \
    /* dw[i] += sum of dy[r,i] / d[i] * v[r,i], rows ascending */                                                           \
    void (*column_products)(atk_pool *pool, REAL *dw, const REAL *dy, size_t dy_stride, const REAL *v, size_t v_stride,     \
                            const REAL *d, size_t rows, size_t n);                                                          \
    /* y[r] = root of the sum of squares of x[r,:n] */                                                                      \
    void (*row_norms)(atk_pool *pool, REAL *y, const REAL *x, size_t rows, size_t n);                                       \
    /* y[r,i] = x[r,i], elements of `unit` bytes, or 0 where the Philox word of (rows_at[r][2], i) is below the threshold */\
    void (*dropout)(atk_pool *pool, void *y, const void *x, size_t unit, const uint32_t *rows_at, uint32_t key0,            \
                    uint32_t key1, uint32_t threshold, size_t rows, size_t n);                                              \
    /* sum of squares in f64, blocks of 4096 in order; scratch [ceil(count / 4096)] */                                      \
    double (*sum_squares)(atk_pool *pool, double *scratch, const REAL *x, size_t count);                                    \
    /* AdamW (1711.05101, torch's order): decay = 1 - lr*wd, step = lr / (1 - beta1^t), root = sqrt(1 - beta2^t) */         \
    void (*adamw)(atk_pool *pool, REAL *p, REAL *m, REAL *v, const REAL *g, size_t count, double gradient_scale,            \
                  double decay, double beta1, double beta2, double step, double root, double eps);                          \
    /* The same with moments in 8 bits: m, v [count] bytes, m_scale, v_scale [ceil(count / 256)]; a code is 256 values, */  \
    /* ascending, and the 255 borders between them; see optimizer.inc */                                                    \
    void (*adamw8)(atk_pool *pool, REAL *p, uint8_t *m, REAL *m_scale, uint8_t *v, REAL *v_scale,                           \
                   const float *signed_code, const float *unsigned_code, const REAL *g, size_t count,                       \
                   double gradient_scale, double decay, double beta1, double beta2, double step, double root,               \
                   double eps);                                                                                             \
    /* p *= decay; g += coupled * p; m = momentum * m + g (NULL: none); p -= rate * m, or of g + momentum * m (nesterov) */ \
    void (*sgd)(atk_pool *pool, REAL *p, REAL *_Nullable m, const REAL *g, size_t count, double gradient_scale,             \
                double decay, double coupled, double momentum, bool nesterov, double rate);                                 \
    /* rows of x[rows,n] made orthogonal to those above and of size 1, or 0 if no 2^-16 is left; sizes [rows] scratch */     \
    void (*orthonormal_rows)(atk_pool *pool, REAL *x, double *sizes, size_t rows, size_t n);                                \
  } atk_table_##T;
// clang-format on

ATK_DECLARE_STREAMS(float, f32)
ATK_DECLARE_STREAMS(double, f64)
ATK_DECLARE_TABLE(float, f32)
ATK_DECLARE_TABLE(double, f64)

/// Products of bf16 values, summed in f32. A pair holds elements 2i (low half) and 2i + 1 of the summed axis; an odd end is
/// padded with zero. For each pair: acc = fma(odd, odd, acc), then acc = fma(even, even, acc); subnormal operands and sums are
/// zero. bf16.inc says it exactly.
typedef struct atk_table_bf16 {
  const char *name;
  /// As `matmul` and `matmul_turned` of f32, with a and b in pairs and k (and across) counted in pairs.
  void (*matmul)(atk_pool *pool, float *c, size_t c_rs, const uint32_t *a, size_t a_rs, size_t a_ks, size_t a_ps,
                 const uint32_t *b, size_t b_ks, size_t b_vs, size_t m, size_t n, size_t k, bool accumulate);
  size_t (*matmul_turned_scratch)(void);
  void (*matmul_turned)(atk_pool *pool, float *c, size_t c_rs, const uint32_t *a, size_t a_rs, const uint32_t *panels,
                        size_t across, uint32_t *scratch, size_t m, size_t n, size_t k, bool accumulate);
  /// As `matmul_experts` and `matmul_experts_turned` of f32, with a and the panels in pairs and k (and across) counted in them.
  void (*matmul_experts)(atk_pool *pool, float *c, size_t c_rs, const uint32_t *a, size_t a_rs,
                         const uint32_t *_Nullable const *_Nonnull panels, const int32_t *offsets, size_t experts, size_t n,
                         size_t k);
  void (*matmul_experts_turned)(atk_pool *pool, float *c, size_t c_rs, const uint32_t *a, size_t a_rs,
                                const uint32_t *_Nullable const *_Nonnull panels, size_t across, uint32_t *scratch,
                                const int32_t *offsets, size_t experts, size_t n, size_t k);
  /// Panels [..][ceil(k/2)][16] of w[n,k]^T: row i of w becomes row first + i.
  void (*pack_rows)(atk_pool *pool, uint32_t *panels, const uint16_t *w, size_t n, size_t k, size_t first);
  /// Pairs along each row: y[rows][ceil(k/2)] of x[rows,k] (rows `stride` apart), rounded to nearest even.
  void (*pair_rows)(atk_pool *pool, uint32_t *y, const float *x, size_t stride, size_t rows, size_t k);
  /// Panels [ceil(k/width)][ceil(rows/2)][width] of pairs of neighbouring rows of x, or of x16 if x is NULL.
  void (*pair_columns)(atk_pool *pool, uint32_t *y, const float *_Nullable x, const uint16_t *_Nullable x16, size_t stride,
                       size_t rows, size_t k, size_t width);
  /// As `peak` of f32, with twice as many multiply-adds: pairs.
  void (*peak)(atk_pool *pool, float *sink, size_t iterations);
  void (*narrow)(atk_pool *pool, uint16_t *y, const float *x, size_t count);
  void (*widen)(atk_pool *pool, float *y, const uint16_t *x, size_t count);
  /// IEEE half precision to f32, every value exactly: subnormals stay, and so do the bits of a NaN.
  void (*widen_half)(atk_pool *pool, float *y, const uint16_t *x, size_t count);
  /// y[r,:] = x[index[r],:], widened.
  void (*gather)(atk_pool *pool, float *y, const uint16_t *x, const int32_t *index, size_t rows, size_t n);
} atk_table_bf16;

/// Products of bf16 values with weights held as integer codes, exact as bf16: 8 bits with one f32 scale for each output, or
/// 4 bits with one for each output and group of 128 inputs (the last group may be shorter). A dot is that of the bf16 table,
/// over the codes, from zero:
///   8 bits: y[m,n] = scale[n] * dot(x[m,:], q[n,:])
///   4 bits: y = 0, then for each group ascending y = fma(scale[n,g], dot(x[m,g], q[n,g]), y)
///   turned: dx[m,k] = dot over n of bf16(dy[m,n] * scale[n] or scale[n, k/128]) and q[n,k], pairs of neighbouring n
/// Panels of 16 outputs: [ceil(n/16)][groups] of 16 scales and the group's codes, `panel_bytes` each. 8 bits: per pair of
/// inputs 16 bytes of even and 16 of odd codes. 4 bits: per four pairs 16 words, even codes in bits 4i, odd in 16 + 4i.
typedef struct atk_table_codes {
  const char *name;
  /// Bytes of one panel of 16 outputs.
  size_t (*panel_bytes)(int bits, size_t k);
  /// Rows of w[n,k] (f32, or w16 if w is NULL) become rows first + i of the panels. A row (or group) with a NaN or an
  /// infinity gets the scale NaN. 8 bits: scale max|w|/127. 4 bits: the best of 16 scales, see quantized.inc.
  void (*pack)(atk_pool *pool, uint8_t *panels, const float *_Nullable w, const uint16_t *_Nullable w16, int bits, size_t n,
               size_t k, size_t first);
  /// w[n,k] = scale * code.
  void (*unpack)(atk_pool *pool, float *w, const uint8_t *panels, int bits, size_t n, size_t k);
  /// y[m,n] from rows of pairs a (`a_rs` pairs apart) of k inputs; scratch: `scratch(k)` words per thread.
  size_t (*scratch)(size_t k);
  void (*matmul)(atk_pool *pool, float *y, size_t y_rs, const uint32_t *a, size_t a_rs, const uint8_t *panels,
                 uint32_t *scratch, int bits, size_t m, size_t n, size_t k);
  /// dx[m,k] from dy[m,n], rows `dy_rs` apart; scratch as above.
  void (*matmul_turned)(atk_pool *pool, float *dx, size_t dx_rs, const float *dy, size_t dy_rs, const uint8_t *panels,
                        uint32_t *scratch, int bits, size_t m, size_t n, size_t k);
} atk_table_codes;

// ---- choosing an instruction set -------------------------------------------------------------------------------------

typedef struct atk_isa {
  const char *name;  // "avx512-bf16", "avx512", "avx2", "portable"
  const atk_table_f32 *f32;
  const atk_table_bf16 *bf16;
  const atk_table_codes *codes;
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
