#include "simd_avx512.h"

#include "lanes.h"

#include "level.h"

namespace {
const Kernels* table() {
  static const Kernels kernels = level_table("avx512");
  return &kernels;
}
}  // namespace

extern const Kernels* (*const avx512_level)() = table;
