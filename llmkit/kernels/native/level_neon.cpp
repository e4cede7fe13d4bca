#include "simd_neon.h"

#include "lanes.h"

#include "level.h"

namespace {
const Kernels* table() {
  static const Kernels kernels = level_table("neon");
  return &kernels;
}
}  // namespace

extern const Kernels* (*const neon_level)() = table;
