// The families in double, so that every gradient can be checked against finite differences.
#include "../include/attune_kernels.h"
#include "tables.h"

#define REAL double
#define IS_DOUBLE
#define NAME(x) atk_##x##_double
#define WIDE 1
#define TABLE atk_table_f64
#define ISA_NAME "double"
#define atk_head_streams_T atk_head_streams_f64
#include "../families/table.inc"
