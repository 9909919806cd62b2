// The tables that the files of this folder define.
#pragma once
#include "../include/attune_kernels.h"

#if defined(__x86_64__)
extern const atk_table_f32 atk_table_avx512_bf16, atk_table_avx512, atk_table_avx2;
extern const atk_table_bf16 atk_pair_table_avx512_bf16, atk_pair_table_avx512, atk_pair_table_avx2;
extern const atk_table_codes atk_code_table_avx512_bf16, atk_code_table_avx512, atk_code_table_avx2;
#endif
extern const atk_table_f32 atk_table_portable;
extern const atk_table_bf16 atk_pair_table_portable;
extern const atk_table_codes atk_code_table_portable;
extern const atk_table_f64 atk_table_double;
