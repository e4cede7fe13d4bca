// New keys or values on their way into the memory that texts keep.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

// int8 codes of one head, and their scale: the largest of them is 127. What is not a number makes the scale one too.
LK void keep_codes(const float* from, int8_t* to, float* scale, int64_t size) {
  F most = zero(), nothing = zero();
  for (int64_t e = 0; e < size; e += kLanes) {
    F value = load_first(from + e, size - e);
    most = max(most, abs(value));
    nothing = fma(value, zero(), nothing);  // 0, or NaN where a value is no finite number
  }
  float top = max_lanes(most), wrong = sum_lanes(nothing);
  bool is_zero = wrong == wrong && top < kSmallest;
  *scale = wrong == wrong ? (is_zero ? 0.0f : top / 127.0f) : wrong;
  F inverse = set1(wrong == wrong && !is_zero ? 127.0f / top : 0.0f);
  for (int64_t e = 0; e < size; e += kLanes) {
    F value = wrong == wrong ? load_first(from + e, size - e) : zero();
    alignas(64) int8_t codes[kLanes];
    store_i8(codes, round_int(mul(value, inverse)));
    memcpy(to + e, codes, (size_t)(size - e < kLanes ? size - e : kLanes));
  }
}

// Rows are shared out evenly and not claimed: keys and values are kept between the same two barriers.
static void keep(Worker& worker, const Keep& k) {
  int64_t row = (int64_t)k.heads * k.head_dim;
  for (int64_t n = worker.index; n < k.rows; n += worker.size) {
    const float* from = k.from + n * row;
    int64_t at = k.places[n] * k.stride;
    if (k.type == kFloat32) memcpy((float*)k.to + at, from, (size_t)row * 4);
    if (k.type == kBfloat16)
      for (int64_t i = 0; i < row; i++) ((uint16_t*)k.to)[at + i] = to_bf16(from[i]);
    if (k.type == kCodes8)
      for (int64_t head = 0; head < k.heads; head++)
        keep_codes(from + head * k.head_dim, (int8_t*)k.to + at + head * k.head_dim,
                   k.scales + k.places[n] * k.scale_stride + head, k.head_dim);
  }
}

}  // namespace
