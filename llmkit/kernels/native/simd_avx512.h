// AVX-512 (F, BW, VL, DQ, VNNI): one vector holds all 16 lanes. With AVX512_BF16 also products of bfloat16 pairs.
#pragma once
#include <immintrin.h>

#include "inline.h"

namespace {

typedef __m512 f32;
typedef __m512i i32;
constexpr int kWidth = 16;
constexpr int kFloatRows = 3, kFloatBatch = 8;  // a tile of 3 x 16 rows by 8: 24 accumulators of 32 registers
constexpr int kIntBatch = 12;                   // 12 integer and 12 float accumulators
constexpr bool kSignedDot8 = false;
constexpr int kAttendRows = 4, kAttendCols = 4;  // attention's tile: rows by 16-lane columns
constexpr int kDirectRows = 8;  // so many query rows read keys and values from the cache itself

LK f32 n_load(const float* p) { return _mm512_loadu_ps(p); }
LK void n_store(float* p, f32 a) { _mm512_storeu_ps(p, a); }
LK f32 n_set1(float a) { return _mm512_set1_ps(a); }
LK f32 n_add(f32 a, f32 b) { return _mm512_add_ps(a, b); }
LK f32 n_sub(f32 a, f32 b) { return _mm512_sub_ps(a, b); }
LK f32 n_mul(f32 a, f32 b) { return _mm512_mul_ps(a, b); }
LK f32 n_div(f32 a, f32 b) { return _mm512_div_ps(a, b); }
LK f32 n_min(f32 a, f32 b) { return _mm512_min_ps(a, b); }  // min and max return b where a or b is NaN
LK f32 n_max(f32 a, f32 b) { return _mm512_max_ps(a, b); }
LK f32 n_abs(f32 a) { return _mm512_abs_ps(a); }
LK f32 n_fma(f32 a, f32 b, f32 c) { return _mm512_fmadd_ps(a, b, c); }
LK f32 n_pick(f32 a, f32 b, f32 x, f32 y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x); }
LK f32 n_load_bf16(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
LK f32 n_load_f16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
LK f32 n_to_half(f32 a) { return _mm512_cvtph_ps(_mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
LK f32 n_load_i8(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
}
LK f32 n_even_bf16(i32 a) { return _mm512_castsi512_ps(_mm512_slli_epi32(a, 16)); }
LK f32 n_odd_bf16(i32 a) { return _mm512_castsi512_ps(_mm512_and_si512(a, _mm512_set1_epi32((int)0xffff0000))); }

LK i32 n_load_int(const void* p) { return _mm512_loadu_si512(p); }
LK i32 n_set1_int(int32_t a) { return _mm512_set1_epi32(a); }
LK i32 n_round(f32 a) { return _mm512_cvtps_epi32(a); }
LK f32 n_whole(f32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LK f32 n_to_float(i32 a) { return _mm512_cvtepi32_ps(a); }
LK f32 n_pow2(i32 n) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23)); }
LK void n_store_i8(int8_t* p, i32 a) { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(a)); }
LK i32 n_add_int(i32 a, i32 b) { return _mm512_add_epi32(a, b); }
LK float n_sum(f32 a) { return _mm512_reduce_add_ps(a); }  // by halves: 8 + 8, 4 + 4, 2 + 2, 1 + 1
LK float n_highest(f32 a) { return _mm512_reduce_max_ps(a); }
LK int32_t n_sum_int(i32 a) { return _mm512_reduce_add_epi32(a); }
template <int BYTE>
LK i32 n_byte(i32 a) { return _mm512_srai_epi32(_mm512_slli_epi32(a, 24 - 8 * BYTE), 24); }  // signed
LK i32 n_low_nibbles(i32 a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
LK i32 n_high_nibbles(i32 a) { return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15)); }
LK i32 n_lookup(i32 table, i32 at) { return _mm512_shuffle_epi8(table, at); }  // bytes, 16 to choose from
LK i32 n_load_u8(const uint8_t* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)); }
LK i32 n_next_nibble(i32 a) { return _mm512_srli_epi32(a, 4); }
// A float of 4 exponent and 3 mantissa bits has room in half precision, 256 times smaller; no number is no number.
LK f32 n_load_e4m3(const uint8_t* p) {
  __m256i all = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)p)), most = _mm256_set1_epi16(0x7f);
  __m256i size = _mm256_and_si256(all, most), none = _mm256_srli_epi16(_mm256_cmpeq_epi16(size, most), 1);
  __m256i sign = _mm256_slli_epi16(_mm256_srli_epi16(all, 7), 15);
  return _mm512_cvtph_ps(_mm256_or_si256(_mm256_or_si256(sign, _mm256_slli_epi16(size, 7)), none));
}
LK f32 n_lookup_floats(const f32* table, i32 at) { return _mm512_permutexvar_ps(at, table[0]); }  // by 4 bits
LK i32 n_dot4(i32 c, i32 w, i32 x) { return _mm512_dpbusd_epi32(c, w, x); }  // w: 0..15
LK i32 n_dot8(i32 c, i32 w, i32 x) { return _mm512_dpbusd_epi32(c, w, x); }  // w: code + 128

#ifdef __AVX512BF16__
constexpr bool kBf16Dot = true;
LK f32 n_dot_bf16(f32 c, i32 w, i32 x) { return _mm512_dpbf16_ps(c, (__m512bh)w, (__m512bh)x); }
LK void n_store_bf16(uint16_t* p, f32 a) { _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(a)); }
#elif defined(LLMKIT_EMULATE_BF16)  // the bfloat16 code path, on a machine that lacks the instruction
constexpr bool kBf16Dot = true;
LK f32 n_dot_bf16(f32 c, i32 w, i32 x) {
  return n_add(c, n_fma(n_even_bf16(w), n_even_bf16(x), n_mul(n_odd_bf16(w), n_odd_bf16(x))));
}
#else
constexpr bool kBf16Dot = false;
LK f32 n_dot_bf16(f32 c, i32, i32) { return c; }
#endif

// Rows become columns, in place.
LK void n_transpose(f32 r[kWidth]) {
  f32 t[16];
  LK_UNROLL for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  LK_UNROLL for (int i = 0; i < 4; i++) {
    r[4 * i] = (__m512)_mm512_unpacklo_pd((__m512d)t[4 * i], (__m512d)t[4 * i + 2]);
    r[4 * i + 1] = (__m512)_mm512_unpackhi_pd((__m512d)t[4 * i], (__m512d)t[4 * i + 2]);
    r[4 * i + 2] = (__m512)_mm512_unpacklo_pd((__m512d)t[4 * i + 1], (__m512d)t[4 * i + 3]);
    r[4 * i + 3] = (__m512)_mm512_unpackhi_pd((__m512d)t[4 * i + 1], (__m512d)t[4 * i + 3]);
  }
  LK_UNROLL for (int i = 0; i < 4; i++) {  // r[4q + i] holds, for rows 4q.., columns i, 4 + i, 8 + i, 12 + i
    t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
  }
  LK_UNROLL for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
    r[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
    r[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

}  // namespace
