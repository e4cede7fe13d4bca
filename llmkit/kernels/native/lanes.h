// F and I: 16 float32 and 16 int32 lanes, whatever the machine's vectors hold. All kernels are written in these, so
// that layouts and (but for fused multiply-add on the portable level) results are the same on every level.
#pragma once
#include "inline.h"

namespace {

constexpr int kLanes = 16;
constexpr int kParts = kLanes / kWidth;
constexpr float kSmallest = 7.8886091e-31f;  // 2^-100: where codes are made, less is 0; the inverse of more is finite

struct F {
  f32 v[kParts];
};
struct I {
  i32 v[kParts];
};

#define LK_EACH LK_UNROLL for (int i = 0; i < kParts; i++)

LK F load(const float* p) { F r; LK_EACH r.v[i] = n_load(p + i * kWidth); return r; }
LK void store(float* p, F a) { LK_EACH n_store(p + i * kWidth, a.v[i]); }
LK F set1(float a) { F r; LK_EACH r.v[i] = n_set1(a); return r; }
LK F zero() { return set1(0.0f); }
LK F add(F a, F b) { LK_EACH a.v[i] = n_add(a.v[i], b.v[i]); return a; }
LK F sub(F a, F b) { LK_EACH a.v[i] = n_sub(a.v[i], b.v[i]); return a; }
LK F mul(F a, F b) { LK_EACH a.v[i] = n_mul(a.v[i], b.v[i]); return a; }
LK F div(F a, F b) { LK_EACH a.v[i] = n_div(a.v[i], b.v[i]); return a; }
LK F min(F a, F b) { LK_EACH a.v[i] = n_min(a.v[i], b.v[i]); return a; }
LK F max(F a, F b) { LK_EACH a.v[i] = n_max(a.v[i], b.v[i]); return a; }
LK F abs(F a) { LK_EACH a.v[i] = n_abs(a.v[i]); return a; }
LK F fma(F a, F b, F c) { LK_EACH c.v[i] = n_fma(a.v[i], b.v[i], c.v[i]); return c; }
LK F pick(F a, F b, F x, F y) { LK_EACH x.v[i] = n_pick(a.v[i], b.v[i], x.v[i], y.v[i]); return x; }  // a > b ? x : y
LK F load_bf16(const uint16_t* p) { F r; LK_EACH r.v[i] = n_load_bf16(p + i * kWidth); return r; }
LK F load_f16(const uint16_t* p) { F r; LK_EACH r.v[i] = n_load_f16(p + i * kWidth); return r; }
LK F to_half(F a) { LK_EACH a.v[i] = n_to_half(a.v[i]); return a; }  // rounded to half precision
LK F load_i8(const int8_t* p) { F r; LK_EACH r.v[i] = n_load_i8(p + i * kWidth); return r; }
LK F even_bf16(I a) { F r; LK_EACH r.v[i] = n_even_bf16(a.v[i]); return r; }
LK F odd_bf16(I a) { F r; LK_EACH r.v[i] = n_odd_bf16(a.v[i]); return r; }
LK I as_int(F a) { I r; LK_EACH r.v[i] = (i32)a.v[i]; return r; }  // the same bits
template <int BYTE>
LK F code_of(I a) { F r; LK_EACH r.v[i] = n_to_float(n_byte<BYTE>(a.v[i])); return r; }  // an int8 of each word
LK F as_float(I a) { F r; LK_EACH r.v[i] = (f32)a.v[i]; return r; }

LK I load_int(const void* p) { I r; LK_EACH r.v[i] = n_load_int((const char*)p + i * kWidth * 4); return r; }
LK I set1_int(int32_t a) { I r; LK_EACH r.v[i] = n_set1_int(a); return r; }
LK I add_int(I a, I b) { LK_EACH a.v[i] = n_add_int(a.v[i], b.v[i]); return a; }
LK I round_int(F a) { I r; LK_EACH r.v[i] = n_round(a.v[i]); return r; }
LK F whole(F a) { LK_EACH a.v[i] = n_whole(a.v[i]); return a; }  // to whole numbers, ties to even; |a| < 2^22
LK F to_float(I a) { F r; LK_EACH r.v[i] = n_to_float(a.v[i]); return r; }
LK F pow2(I n) { F r; LK_EACH r.v[i] = n_pow2(n.v[i]); return r; }
LK void store_i8(int8_t* p, I a) { LK_EACH n_store_i8(p + i * kWidth, a.v[i]); }
LK I low_nibbles(I a) { LK_EACH a.v[i] = n_low_nibbles(a.v[i]); return a; }
LK I high_nibbles(I a) { LK_EACH a.v[i] = n_high_nibbles(a.v[i]); return a; }
LK I load_u8(const uint8_t* p) { I r; LK_EACH r.v[i] = n_load_u8(p + i * kWidth); return r; }
LK I next_nibble(I a) { LK_EACH a.v[i] = n_next_nibble(a.v[i]); return a; }  // of each word, the lowest
LK F load_e4m3(const uint8_t* p) { F r; LK_EACH r.v[i] = n_load_e4m3(p + i * kWidth); return r; }  // a 256th of it
LK F lookup_floats(const F& table, I places) { F r; LK_EACH r.v[i] = n_lookup_floats(table.v, places.v[i]); return r; }
LK I lookup(I table, I places) { LK_EACH places.v[i] = n_lookup(table.v[i], places.v[i]); return places; }
LK I dot4(I c, I w, int32_t x) { i32 b = n_set1_int(x); LK_EACH c.v[i] = n_dot4(c.v[i], w.v[i], b); return c; }
LK I dot8(I c, I w, int32_t x) { i32 b = n_set1_int(x); LK_EACH c.v[i] = n_dot8(c.v[i], w.v[i], b); return c; }
LK F dot_bf16(F c, I w, int32_t x) { i32 b = n_set1_int(x); LK_EACH c.v[i] = n_dot_bf16(c.v[i], w.v[i], b); return c; }

// bfloat16, rounded to nearest, ties to even; NaN stays NaN.
LK uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  return (uint16_t)((is_nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
LK void store_bf16(uint16_t* p, F a) {
#ifdef __AVX512BF16__
  LK_EACH n_store_bf16(p + i * kWidth, a.v[i]);
#else
  float t[kLanes];
  store(t, a);
  for (int i = 0; i < kLanes; i++) p[i] = to_bf16(t[i]);
#endif
}

// The lanes' sum and maximum, by halves, in one order on every level.
LK f32 halve_add(F a) {
  LK_UNROLL for (int half = kParts / 2; half; half /= 2)
    LK_UNROLL for (int i = 0; i < half; i++) a.v[i] = n_add(a.v[i], a.v[i + half]);
  return a.v[0];
}
LK float sum_lanes(F a) { return n_sum(halve_add(a)); }
LK float max_lanes(F a) {
  LK_UNROLL for (int i = 1; i < kParts; i++) a.v[0] = n_max(a.v[0], a.v[i]);
  return n_highest(a.v[0]);
}
LK int32_t sum_lanes_int(I a) {
  LK_UNROLL for (int i = 1; i < kParts; i++) a.v[0] = n_add_int(a.v[0], a.v[i]);
  return n_sum_int(a.v[0]);
}

// The first `count` floats, zeros after them; and back. For the last, incomplete vector of a row.
LK_SELDOM F load_tail(const float* p, int64_t count) {
  float t[kLanes] = {0};
  for (int64_t i = 0; i < count; i++) t[i] = p[i];
  return load(t);
}
LK_SELDOM void store_tail(float* p, const float* t, int64_t count) {
  for (int64_t i = 0; i < count; i++) p[i] = t[i];
}
LK F load_first(const float* p, int64_t count) { return count >= kLanes ? load(p) : load_tail(p, count); }
LK void store_first(float* p, F a, int64_t count) {
  if (count >= kLanes) return store(p, a);
  float t[kLanes];
  store(t, a);
  store_tail(p, t, count);
}

// e^x within 2 units in the last place for -87.3 <= x <= 88; beyond, the value at that end. NaN stays NaN.
// Cody-Waite reduction by ln 2 in two parts, then the polynomial of Cephes' expf.
LK F exp(F x) {
  x = max(set1(-87.3f), min(set1(88.0f), x));
  I n = round_int(mul(x, set1(1.44269504088896341f)));
  F k = to_float(n);
  F r = fma(k, set1(2.12194440e-4f), fma(k, set1(-0.693359375f), x));
  F p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), set1(1.0f));
  return mul(p, pow2(n));
}
LK F sigmoid(F x) { return div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), x)))); }
LK F tanh(F x) {
  F e = exp(add(x, x));
  return div(sub(e, set1(1.0f)), add(e, set1(1.0f)));
}
LK float exp_one(float x) {
  float t[kLanes];
  store(t, exp(set1(x)));
  return t[0];
}

// 16 floats as values of a type, or the first `count`: float32 or bfloat16.
LK void store_as(void* p, int32_t type, int64_t at, F a) {
  if (type == 0) store((float*)p + at, a);
  else store_bf16((uint16_t*)p + at, a);
}
LK void store_first_as(void* p, int32_t type, int64_t at, F a, int64_t count) {
  if (count >= kLanes) return store_as(p, type, at, a);
  if (type == 0) return store_first((float*)p + at, a, count);
  uint16_t t[kLanes];
  store_bf16(t, a);
  memcpy((uint16_t*)p + at, t, (size_t)count * 2);
}

// 16 values of a stored type as floats.
LK F load_as(const void* p, int32_t type, int64_t at) {
  if (type == 0) return load((const float*)p + at);
  if (type == 1) return load_bf16((const uint16_t*)p + at);
  if (type == 2) return load_f16((const uint16_t*)p + at);
  return load_i8((const int8_t*)p + at);
}
LK_SELDOM F load_tail_as(const void* p, int32_t type, int64_t at, int64_t count) {
  if (type == 0) return load_tail((const float*)p + at, count);
  alignas(64) uint16_t t[kLanes] = {0};
  if (type == 3) {
    memcpy(t, (const int8_t*)p + at, (size_t)count);
    return load_i8((const int8_t*)t);
  }
  memcpy(t, (const uint16_t*)p + at, (size_t)count * 2);
  return type == 1 ? load_bf16(t) : load_f16(t);
}
LK F load_first_as(const void* p, int32_t type, int64_t at, int64_t count) {
  return count >= kLanes ? load_as(p, type, at) : load_tail_as(p, type, at, count);
}

LK void transpose_squares(const F rows[kLanes], F columns[kLanes]) {
  LK_UNROLL for (int top = 0; top < kParts; top++)
    LK_UNROLL for (int part = 0; part < kParts; part++) {
      f32 square[kWidth];
      LK_UNROLL for (int i = 0; i < kWidth; i++) square[i] = rows[top * kWidth + i].v[part];
      n_transpose(square);
      LK_UNROLL for (int i = 0; i < kWidth; i++) columns[part * kWidth + i].v[top] = square[i];
    }
}
static __attribute__((noinline, unused)) void transpose_in_memory(const F rows[kLanes], F columns[kLanes]) {
  transpose_squares(rows, columns);
}
// columns[c] lane r = rows[r] lane c; in registers, where they are that many and wide.
LK void transpose16(const F rows[kLanes], F columns[kLanes]) {
  if constexpr (kParts == 1) transpose_squares(rows, columns);
  else transpose_in_memory(rows, columns);
}
// out[c * stride + r] = rows[r] lane c: a square of 16, by squares of one vector's width.
LK void transpose16(const F rows[kLanes], float* out, long stride) {
  LK_UNROLL for (int top = 0; top < kParts; top++)
    LK_UNROLL for (int part = 0; part < kParts; part++) {
      f32 square[kWidth];
      LK_UNROLL for (int i = 0; i < kWidth; i++) square[i] = rows[top * kWidth + i].v[part];
      n_transpose(square);
      LK_UNROLL for (int i = 0; i < kWidth; i++) n_store(out + (part * kWidth + i) * stride + top * kWidth, square[i]);
    }
}
LK void transpose16(const float* rows, long row_stride, float* out, long stride) {
  F r[kLanes];
  LK_UNROLL for (int i = 0; i < kLanes; i++) r[i] = load(rows + i * row_stride);
  transpose16(r, out, stride);
}

}  // namespace
