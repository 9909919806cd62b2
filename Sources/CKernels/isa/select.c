// What this machine can run, best first.
#include "tables.h"

const atk_isa *atk_isas(size_t *count) {
#if defined(__x86_64__)
  static const atk_isa all[] = {
      {"avx512-bf16", &atk_table_avx512_bf16, &atk_pair_table_avx512_bf16, &atk_code_table_avx512_bf16},
      {"avx512", &atk_table_avx512, &atk_pair_table_avx512, &atk_code_table_avx512},
      {"avx2", &atk_table_avx2, &atk_pair_table_avx2, &atk_code_table_avx2},
      {"portable", &atk_table_portable, &atk_pair_table_portable, &atk_code_table_portable},
  };
  __builtin_cpu_init();
  size_t first = 3;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    first = 2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      first = 1;
      if (__builtin_cpu_supports("avx512bf16")) first = 0;
    }
  }
  *count = 4 - first;
  return all + first;
#else
  static const atk_isa all[] = {{"portable", &atk_table_portable, &atk_pair_table_portable, &atk_code_table_portable}};
  *count = 1;
  return all;
#endif
}

const atk_table_f64 *atk_f64(void) { return &atk_table_double; }
