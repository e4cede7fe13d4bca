// NEON with the dot-product instructions (ARMv8.2: Apple, Graviton 2 and later): four vectors hold the 16 lanes.
#pragma once
#include <arm_neon.h>

#include "inline.h"

namespace {

typedef float32x4_t f32;
typedef int32x4_t i32;
constexpr int kWidth = 4;
constexpr int kFloatRows = 1, kFloatBatch = 5;  // 20 accumulators of 32 registers
constexpr int kIntBatch = 3;
constexpr bool kSignedDot8 = true;
constexpr int kAttendRows = 2, kAttendCols = 2;  // attention's tile: rows by 16-lane columns
constexpr int kDirectRows = 4;  // so many query rows read keys and values from the cache itself
constexpr bool kBf16Dot = false;

LK f32 n_load(const float* p) { return vld1q_f32(p); }
LK void n_store(float* p, f32 a) { vst1q_f32(p, a); }
LK f32 n_set1(float a) { return vdupq_n_f32(a); }
LK f32 n_add(f32 a, f32 b) { return vaddq_f32(a, b); }
LK f32 n_sub(f32 a, f32 b) { return vsubq_f32(a, b); }
LK f32 n_mul(f32 a, f32 b) { return vmulq_f32(a, b); }
LK f32 n_div(f32 a, f32 b) { return vdivq_f32(a, b); }
LK f32 n_min(f32 a, f32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
LK f32 n_max(f32 a, f32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
LK f32 n_abs(f32 a) { return vabsq_f32(a); }
LK f32 n_fma(f32 a, f32 b, f32 c) { return vfmaq_f32(c, a, b); }
LK f32 n_pick(f32 a, f32 b, f32 x, f32 y) { return vbslq_f32(vcgtq_f32(a, b), x, y); }
LK f32 n_load_bf16(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
LK f32 n_load_f16(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
LK f32 n_to_half(f32 a) { return vcvt_f32_f16(vcvt_f16_f32(a)); }
LK f32 n_load_i8(const int8_t* p) { return f32{(float)p[0], (float)p[1], (float)p[2], (float)p[3]}; }
LK f32 n_even_bf16(i32 a) { return vreinterpretq_f32_s32(vshlq_n_s32(a, 16)); }
LK f32 n_odd_bf16(i32 a) { return vreinterpretq_f32_s32(vandq_s32(a, vdupq_n_s32((int)0xffff0000))); }

LK i32 n_load_int(const void* p) { return vreinterpretq_s32_u8(vld1q_u8((const uint8_t*)p)); }
LK i32 n_set1_int(int32_t a) { return vdupq_n_s32(a); }
LK i32 n_round(f32 a) { return vcvtnq_s32_f32(a); }
LK f32 n_whole(f32 a) { return vrndnq_f32(a); }
LK f32 n_to_float(i32 a) { return vcvtq_f32_s32(a); }
LK f32 n_pow2(i32 n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23)); }
LK void n_store_i8(int8_t* p, i32 a) {
  int16x4_t words = vmovn_s32(a);
  int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  vst1_lane_s32((int32_t*)p, vreinterpret_s32_s8(bytes), 0);
}
LK i32 n_add_int(i32 a, i32 b) { return vaddq_s32(a, b); }
LK float n_sum(f32 a) { return (a[0] + a[2]) + (a[1] + a[3]); }
LK float n_highest(f32 a) { return vmaxvq_f32(a); }
LK int32_t n_sum_int(i32 a) { return vaddvq_s32(a); }
template <int BYTE>
LK i32 n_byte(i32 a) { return vshrq_n_s32(vshlq_n_s32(a, 24 - 8 * BYTE), 24); }  // signed
LK i32 n_low_nibbles(i32 a) { return vandq_s32(a, vdupq_n_s32(0x0f0f0f0f)); }
LK i32 n_high_nibbles(i32 a) {
  return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(a), 4));
}
LK i32 n_lookup(i32 table, i32 at) {  // bytes, 16 to choose from
  return vreinterpretq_s32_u8(vqtbl1q_u8(vreinterpretq_u8_s32(table), vreinterpretq_u8_s32(at)));
}
LK i32 n_next_nibble(i32 a) { return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), 4)); }
LK i32 n_dot4(i32 c, i32 w, i32 x) { return vdotq_s32(c, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x)); }
LK i32 n_dot8(i32 c, i32 w, i32 x) {
  return n_dot4(c, veorq_s32(w, vdupq_n_s32((int)0x80808080)), x);
}
LK f32 n_dot_bf16(f32 c, i32, i32) { return c; }

// Rows become columns, in place.
LK void n_transpose(f32 r[kWidth]) {
  float32x4x2_t low = vtrnq_f32(r[0], r[1]), high = vtrnq_f32(r[2], r[3]);
  r[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
  r[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
  r[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
  r[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

}  // namespace

#include "simd_four_lanes.h"
