#include "simd_avx2.h"

#include "lanes.h"

#include "level.h"

namespace {
const Kernels* table() {
  static const Kernels kernels = level_table("avx2");
  return &kernels;
}
}  // namespace

extern const Kernels* (*const avx2_level)() = table;
