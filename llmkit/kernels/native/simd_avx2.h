// AVX2, FMA, F16C: two vectors hold the 16 lanes.
#pragma once
#include <immintrin.h>

#include "inline.h"

namespace {

typedef __m256 f32;
typedef __m256i i32;
constexpr int kWidth = 8;
constexpr int kFloatRows = 1, kFloatBatch = 6;  // 12 accumulators of 16 registers
constexpr int kIntBatch = 3;
constexpr bool kSignedDot8 = true;
constexpr int kAttendRows = 2, kAttendCols = 2;  // attention's tile: rows by 16-lane columns
constexpr int kDirectRows = 4;  // so many query rows read keys and values from the cache itself
constexpr bool kBf16Dot = false;

LK f32 n_load(const float* p) { return _mm256_loadu_ps(p); }
LK void n_store(float* p, f32 a) { _mm256_storeu_ps(p, a); }
LK f32 n_set1(float a) { return _mm256_set1_ps(a); }
LK f32 n_add(f32 a, f32 b) { return _mm256_add_ps(a, b); }
LK f32 n_sub(f32 a, f32 b) { return _mm256_sub_ps(a, b); }
LK f32 n_mul(f32 a, f32 b) { return _mm256_mul_ps(a, b); }
LK f32 n_div(f32 a, f32 b) { return _mm256_div_ps(a, b); }
LK f32 n_min(f32 a, f32 b) { return _mm256_min_ps(a, b); }
LK f32 n_max(f32 a, f32 b) { return _mm256_max_ps(a, b); }
LK f32 n_abs(f32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
LK f32 n_fma(f32 a, f32 b, f32 c) { return _mm256_fmadd_ps(a, b, c); }
LK f32 n_pick(f32 a, f32 b, f32 x, f32 y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ)); }
LK f32 n_load_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
LK f32 n_load_f16(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
LK f32 n_to_half(f32 a) { return _mm256_cvtph_ps(_mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
LK f32 n_load_i8(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}
LK f32 n_even_bf16(i32 a) { return _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)); }
LK f32 n_odd_bf16(i32 a) { return _mm256_castsi256_ps(_mm256_and_si256(a, _mm256_set1_epi32((int)0xffff0000))); }

LK i32 n_load_int(const void* p) { return _mm256_loadu_si256((const __m256i*)p); }
LK i32 n_set1_int(int32_t a) { return _mm256_set1_epi32(a); }
LK i32 n_round(f32 a) { return _mm256_cvtps_epi32(a); }
LK f32 n_whole(f32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LK f32 n_to_float(i32 a) { return _mm256_cvtepi32_ps(a); }
LK f32 n_pow2(i32 n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)); }
LK void n_store_i8(int8_t* p, i32 a) {
  __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  _mm_storel_epi64((__m128i*)p, _mm_packs_epi16(words, words));
}
LK i32 n_add_int(i32 a, i32 b) { return _mm256_add_epi32(a, b); }
LK float n_sum(f32 a) {
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
LK float n_highest(f32 a) {
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
LK int32_t n_sum_int(i32 a) {
  __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  b = _mm_add_epi32(b, _mm_unpackhi_epi64(b, b));
  return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 1)));
}
template <int BYTE>
LK i32 n_byte(i32 a) { return _mm256_srai_epi32(_mm256_slli_epi32(a, 24 - 8 * BYTE), 24); }  // signed
LK i32 n_low_nibbles(i32 a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
LK i32 n_high_nibbles(i32 a) { return _mm256_and_si256(_mm256_srli_epi16(a, 4), _mm256_set1_epi8(15)); }
LK i32 n_pairs(i32 c, i32 products) {
  return _mm256_add_epi32(c, _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
}
LK i32 n_lookup(i32 table, i32 at) { return _mm256_shuffle_epi8(table, at); }  // bytes, 16 to choose from
LK i32 n_load_u8(const uint8_t* p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)); }
LK i32 n_next_nibble(i32 a) { return _mm256_srli_epi32(a, 4); }
// A float of 4 exponent and 3 mantissa bits has room in half precision, 256 times smaller; no number is no number.
LK f32 n_load_e4m3(const uint8_t* p) {
  __m128i all = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i*)p)), most = _mm_set1_epi16(0x7f);
  __m128i size = _mm_and_si128(all, most), none = _mm_srli_epi16(_mm_cmpeq_epi16(size, most), 1);
  __m128i sign = _mm_slli_epi16(_mm_srli_epi16(all, 7), 15);
  return _mm256_cvtph_ps(_mm_or_si128(_mm_or_si128(sign, _mm_slli_epi16(size, 7)), none));
}
LK f32 n_lookup_floats(const f32* table, i32 at) {  // by 4 bits, of which the highest says which half
  f32 low = _mm256_permutevar8x32_ps(table[0], at), high = _mm256_permutevar8x32_ps(table[1], at);
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
}
LK i32 n_dot4(i32 c, i32 w, i32 x) { return n_pairs(c, _mm256_maddubs_epi16(w, x)); }  // 15 * 127 * 2 fits 16 bits
// 255 * 127 * 2 does not, |code| * 127 * 2 does: the sign moves to x. Signed codes need no zero point.
LK i32 n_dot8(i32 c, i32 w, i32 x) {
  i32 codes = _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
  return n_pairs(c, _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes)));
}
LK f32 n_dot_bf16(f32 c, i32, i32) { return c; }

// Rows become columns, in place.
LK void n_transpose(f32 r[kWidth]) {
  f32 t[8];
  LK_UNROLL for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  LK_UNROLL for (int i = 0; i < 2; i++) {
    r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
  LK_UNROLL for (int i = 0; i < 4; i++) {
    t[i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x20);
    t[4 + i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x31);
  }
  LK_UNROLL for (int i = 0; i < 8; i++) r[i] = t[i];
}

}  // namespace
