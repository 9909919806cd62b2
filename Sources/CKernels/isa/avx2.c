// The families for avx2.
#include "../include/attune_kernels.h"
#include "tables.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define REAL float
#define NAME(x) atk_##x##_avx2
#define WIDE 2
#define TABLE atk_table_f32
#define ISA_NAME "avx2"
#define atk_head_streams_T atk_head_streams_f32
#define FLUSH_MODE

#include "../families/table.inc"
#include "../families/bf16.inc"
#include "../families/quantized.inc"
#pragma clang attribute pop
#endif
