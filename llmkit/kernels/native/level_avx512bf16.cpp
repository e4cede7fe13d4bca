// AVX-512 with bfloat16 products: what multiplies and what learns; everything else is the AVX-512 level's.
#include "simd_avx512.h"

#include "lanes.h"

#include "attention_tasks.h"
#include "cross_entropy.h"
#include "gate_learn.h"
#include "matmul.h"
#include "rotate_learn.h"

namespace {
Kernels matmul_table() {
  fill_tiles();
  fill_grouped_tiles();
  fill_widened_tiles();
  Kernels table = *avx512_level();
  table.name = "avx512bf16";
  table.prepared_bytes = prepared_bytes;
  table.lay_out = lay_out;
  table.prepare = prepare;
  table.multiply = multiply;
  table.learn_scratch = learn_scratch;
  table.learn_attention = learn_attention;
  table.cross_entropy = cross_entropy;
  table.learn_gate = learn_gate;
  table.learn_rotation = learn_rotation;
  return table;
}
const Kernels* table() {
  static const Kernels kernels = matmul_table();
  return &kernels;
}
}  // namespace

extern const Kernels* (*const avx512bf16_level)() = table;
