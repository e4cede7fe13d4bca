#include "simd_portable.h"

#include "lanes.h"

#include "level.h"

namespace {
const Kernels* table() {
  static const Kernels kernels = level_table("portable");
  return &kernels;
}
}  // namespace

extern const Kernels* (*const portable_level)() = table;
