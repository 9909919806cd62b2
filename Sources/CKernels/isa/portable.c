// The families in plain arithmetic, for any processor: slower where there is no fused multiply-add, and the same bits.
#include "../include/attune_kernels.h"
#include "tables.h"

#define REAL float
#define NAME(x) atk_##x##_portable
#define WIDE 1
#define TABLE atk_table_f32
#define ISA_NAME "portable"
#if defined(__x86_64__) && !defined(__FMA__)
#define EMULATES_FMA
#endif
#define atk_head_streams_T atk_head_streams_f32
#include "../families/table.inc"
#include "../families/bf16.inc"
#include "../families/quantized.inc"
