// A plain read of memory, to measure it by.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

// Several streams side by side, as the kernels read weights: one alone leaves a core's requests unused.
static void read_memory(Worker& worker, ReadMemory& a) {
  constexpr int64_t kPiece = 1 << 20, kStream = kPiece / 4;
  I sums[4];
  LK_UNROLL for (int i = 0; i < 4; i++) sums[i] = set1_int(0);
  for (int64_t from; (from = claim(worker, kPiece)) < a.bytes;) {
    if (from + kPiece <= a.bytes) {
      for (int64_t at = from; at < from + kStream; at += 64)
        LK_UNROLL for (int i = 0; i < 4; i++) sums[i] = add_int(sums[i], load_int(a.data + at + i * kStream));
    } else {
      for (int64_t at = from; at < a.bytes; at += 64) sums[0] = add_int(sums[0], load_int(a.data + at));
    }
  }
  I sum = add_int(add_int(sums[0], sums[1]), add_int(sums[2], sums[3]));
  uint32_t lanes[kLanes], total = 0;  // beyond 2^31 signed numbers have no sum
  memcpy(lanes, &sum, sizeof lanes);
  for (uint32_t lane : lanes) total += lane;
  __atomic_fetch_add(&a.sum, total, __ATOMIC_RELAXED);
}

}  // namespace
