// The k largest of each row of logits, and a plain read of memory to measure it by.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {


LK bool comes_after(float a, int32_t i, float b, int32_t j) { return a < b || (a == b && i > j); }

// Restore the heap below `at`: its root is the one that leaves first.
LK void sift_down(float* values, int32_t* indices, int64_t at, int64_t count) {
  for (int64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && comes_after(values[child + 1], indices[child + 1], values[child], indices[child])) child++;
    if (!comes_after(values[child], indices[child], values[at], indices[at])) return;
    float value = values[at];
    int32_t index = indices[at];
    values[at] = values[child], indices[at] = indices[child];
    values[child] = value, indices[child] = index;
  }
}

// NaN counts as minus infinity.
static void top_k(Worker& worker, const TopK& a) {
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) {
    const float* x = a.logits + row * a.stride;
    float* values = a.values + row * a.k;
    int32_t* indices = a.indices + row * a.k;
    for (int64_t i = 0; i < a.k; i++) {
      values[i] = x[i] == x[i] ? x[i] : -__builtin_inff();
      indices[i] = (int32_t)i;
    }
    for (int64_t i = a.k / 2; i-- > 0;) sift_down(values, indices, i, a.k);
    for (int64_t c = a.k; c < a.cols;) {
      int64_t end = c + kLanes < a.cols ? c + kLanes : a.cols;
      if (end - c == kLanes && !any_greater(load(x + c), set1(values[0]))) {
        c = end;
        continue;
      }
      for (; c < end; c++) {
        if (!(x[c] > values[0])) continue;
        values[0] = x[c], indices[0] = (int32_t)c;
        sift_down(values, indices, 0, a.k);
      }
    }
    for (int64_t left = a.k - 1; left > 0; left--) {  // take the root out, last place first
      float value = values[0];
      int32_t index = indices[0];
      values[0] = values[left], indices[0] = indices[left];
      values[left] = value, indices[left] = index;
      sift_down(values, indices, 0, left);
    }
  }
}


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
