// Any machine, by the compiler's own vectors of 16 bytes (SSE2 on x86-64): four of them hold the 16 lanes.
#pragma once
#include "inline.h"

namespace {

typedef float f32 __attribute__((vector_size(16)));
typedef int32_t i32 __attribute__((vector_size(16)));
typedef uint32_t u32 __attribute__((vector_size(16)));
constexpr int kWidth = 4;
constexpr int kFloatRows = 1, kFloatBatch = 2;
constexpr int kIntBatch = 1;
constexpr bool kSignedDot8 = false;
constexpr int kAttendRows = 1, kAttendCols = 2;  // attention's tile: rows by 16-lane columns
constexpr int kDirectRows = 2;  // so many query rows read keys and values from the cache itself
constexpr bool kBf16Dot = false;

LK f32 n_load(const float* p) { f32 a; memcpy(&a, p, 16); return a; }
LK void n_store(float* p, f32 a) { memcpy(p, &a, 16); }
LK f32 n_set1(float a) { return f32{a, a, a, a}; }
LK f32 n_add(f32 a, f32 b) { return a + b; }
LK f32 n_sub(f32 a, f32 b) { return a - b; }
LK f32 n_mul(f32 a, f32 b) { return a * b; }
LK f32 n_div(f32 a, f32 b) { return a / b; }
LK f32 n_min(f32 a, f32 b) { return a < b ? a : b; }
LK f32 n_max(f32 a, f32 b) { return a > b ? a : b; }
LK f32 n_abs(f32 a) { return (f32)((i32)a & 0x7fffffff); }
LK f32 n_fma(f32 a, f32 b, f32 c) { return a * b + c; }
LK f32 n_pick(f32 a, f32 b, f32 x, f32 y) { return a > b ? x : y; }
LK f32 n_load_bf16(const uint16_t* p) { return (f32)(u32{p[0], p[1], p[2], p[3]} << 16); }
LK float half_to_float(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;
  uint32_t bits = rest >= 0x7c00 ? (rest << 13) + 0x70000000 : (rest << 13) + 0x38000000;  // the exponents' biases
  float value;
  if (rest < 0x400) value = (float)rest * 5.9604644775390625e-8f;  // below the smallest normal: multiples of 2^-24
  else memcpy(&value, &bits, 4);
  memcpy(&bits, &value, 4);
  bits |= sign;
  memcpy(&value, &bits, 4);
  return value;
}
LK f32 n_load_f16(const uint16_t* p) {
  return f32{half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3])};
}
// To the nearest half-precision number, ties to even: adding 1.5 * 2^(13 + exponent) leaves so many bits.
LK float to_half_one(float a) {
  uint32_t bits;
  memcpy(&bits, &a, 4);
  uint32_t exponent = bits >> 23 & 0xff;
  if (exponent == 0xff) return a;
  uint32_t unit = ((exponent < 113 ? 113 : exponent > 150 ? 150 : exponent) + 13) << 23 | 0x400000;
  float big;
  memcpy(&big, &unit, 4);
  float whole = (a + big) - big;
  return whole > 65504.0f ? __builtin_inff() : whole < -65504.0f ? -__builtin_inff() : whole;
}
LK f32 n_to_half(f32 a) { return f32{to_half_one(a[0]), to_half_one(a[1]), to_half_one(a[2]), to_half_one(a[3])}; }
LK f32 n_load_i8(const int8_t* p) { return f32{(float)p[0], (float)p[1], (float)p[2], (float)p[3]}; }
LK f32 n_even_bf16(i32 a) { return (f32)(a << 16); }
LK f32 n_odd_bf16(i32 a) { return (f32)(a & (int32_t)0xffff0000); }

LK i32 n_load_int(const void* p) { i32 a; memcpy(&a, p, 16); return a; }
LK i32 n_set1_int(int32_t a) { return i32{a, a, a, a}; }
LK i32 n_round(f32 a) {  // to the nearest, ties to even: what adding 1.5 * 2^23 does to |a| < 2^22
  return (i32)(a + n_set1(12582912.0f)) - (int32_t)0x4b400000;
}
LK f32 n_whole(f32 a) { return a + n_set1(12582912.0f) - n_set1(12582912.0f); }
LK f32 n_to_float(i32 a) { return __builtin_convertvector(a, f32); }
LK f32 n_pow2(i32 n) { return (f32)((n + 127) << 23); }
LK void n_store_i8(int8_t* p, i32 a) {
  for (int i = 0; i < 4; i++) p[i] = (int8_t)a[i];
}
LK i32 n_add_int(i32 a, i32 b) { return (i32)((u32)a + (u32)b); }  // wraps, as instructions do
LK float n_sum(f32 a) { return (a[0] + a[2]) + (a[1] + a[3]); }
LK float n_highest(f32 a) {
  float even = a[0] > a[2] ? a[0] : a[2], odd = a[1] > a[3] ? a[1] : a[3];
  return even > odd ? even : odd;
}
LK int32_t n_sum_int(i32 a) { return a[0] + a[1] + a[2] + a[3]; }
template <int BYTE>
LK i32 n_byte(i32 a) { return (i32)((u32)a << (24 - 8 * BYTE)) >> 24; }  // signed
LK i32 n_low_nibbles(i32 a) { return a & 0x0f0f0f0f; }
LK i32 n_high_nibbles(i32 a) { return (i32)((u32)a >> 4) & 0x0f0f0f0f; }
LK i32 n_lookup(i32 table, i32 at) {  // bytes, 16 to choose from
  uint8_t from[16], places[16];
  memcpy(from, &table, 16);
  memcpy(places, &at, 16);
  for (int i = 0; i < 16; i++) places[i] = from[places[i]];
  memcpy(&at, places, 16);
  return at;
}
LK i32 n_next_nibble(i32 a) { return (i32)((u32)a >> 4); }
LK i32 n_dot8(i32 c, i32 w, i32 x) {
  LK_UNROLL for (int byte = 0; byte < 4; byte++)
    c += ((i32)((u32)w >> (8 * byte)) & 255) * ((i32)((u32)x << (24 - 8 * byte)) >> 24);
  return c;
}
LK i32 n_dot4(i32 c, i32 w, i32 x) { return n_dot8(c, w, x); }
LK f32 n_dot_bf16(f32 c, i32, i32) { return c; }

// Rows become columns, in place.
LK void n_transpose(f32 r[kWidth]) {
  f32 a = r[0], b = r[1], c = r[2], d = r[3];
  LK_UNROLL for (int i = 0; i < 4; i++) r[i] = f32{a[i], b[i], c[i], d[i]};
}

}  // namespace

#include "simd_four_lanes.h"
