// Products of squares of 64 queries and 64 keys, for attention in training, and how their sides are laid out.
//
// Left sides of products are rows, right sides are laid out so that a word of the left side meets a line of words of the
// right one. A word is a pair of bfloat16 where the machine multiplies such pairs (PAIRS), and elsewhere a float32; all
// sums are float32. Every side of a square is padded with zeros.
#pragma once
#include <string.h>

#include "kernels.h"
#include "lanes.h"

namespace {

constexpr int64_t kSquare = 64;  // queries by keys

// out[r][c] = left[r] . right[c], onto what `out` holds where it adds, for 64 rows; `steps` words, `cols` of 16.
template <bool PAIRS, int R, int C>
LK void learn_tile(const uint32_t* left, int64_t steps, const uint32_t* right, int64_t cols, float* out, bool adds) {
  F acc[R][C];
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int c = 0; c < C; c++) acc[r][c] = adds ? load(out + r * cols + c * kLanes) : zero();
  for (int64_t s = 0; s < steps; s++) {
    I line[C];
    LK_UNROLL for (int c = 0; c < C; c++) line[c] = load_int(right + s * cols + c * kLanes);
    LK_UNROLL for (int r = 0; r < R; r++) {
      int32_t word = (int32_t)left[r * steps + s];
      LK_UNROLL for (int c = 0; c < C; c++) {
        if constexpr (PAIRS) acc[r][c] = dot_bf16(acc[r][c], line[c], word);
        else acc[r][c] = fma(as_float(set1_int(word)), as_float(line[c]), acc[r][c]);
      }
    }
  }
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int c = 0; c < C; c++) store(out + r * cols + c * kLanes, acc[r][c]);
}

template <bool PAIRS>
static void learn_product(const uint32_t* left, int64_t steps, const uint32_t* right, int64_t cols, float* out,
                          bool adds) {
  constexpr int kWide = kAttendCols;
  int64_t c = 0;
  for (; c + kWide * kLanes <= cols; c += kWide * kLanes)
    for (int64_t r = 0; r < kSquare; r += kAttendRows)
      learn_tile<PAIRS, kAttendRows, kWide>(left + r * steps, steps, right + c, cols, out + r * cols + c, adds);
  for (; c < cols; c += kLanes)
    for (int64_t r = 0; r < kSquare; r += kAttendRows)
      learn_tile<PAIRS, kAttendRows, 1>(left + r * steps, steps, right + c, cols, out + r * cols + c, adds);
}

// 64 rows of `wide` numbers as words, those from `count` on zeros.
template <bool PAIRS>
static void learn_rows(const void* from, int32_t type, int64_t token, int64_t count, int64_t wide, uint32_t* to) {
  int64_t words = PAIRS ? wide / 2 : wide;
  for (int64_t i = 0; i < count; i++)
    if constexpr (PAIRS) memcpy(to + i * words, (const uint16_t*)from + i * token, (size_t)wide * 2);
    else
      for (int64_t e = 0; e < wide; e += kLanes) store((float*)to + i * wide + e, load_as(from, type, i * token + e));
  memset(to + count * words, 0, (size_t)((kSquare - count) * words) * 4);
}

// Rows of 64 become columns: [words][64].
static void learn_columns(const uint32_t* rows, int64_t words, uint32_t* to) {
  for (int64_t top = 0; top < kSquare; top += kLanes)
    for (int64_t w = 0; w < words; w += kLanes)
      transpose16((const float*)rows + top * words + w, words, (float*)to + w * kSquare + top, kSquare);
}

// Rows of numbers become lines of words along the rows: [64 / numbers of a word][cols].
template <bool PAIRS>
static void learn_lines(const uint32_t* rows, int64_t cols, uint32_t* to) {
  if constexpr (!PAIRS) {
    memcpy(to, rows, (size_t)(kSquare * cols) * 4);
  } else {
    for (int64_t s = 0; s < kSquare / 2; s++) {
      const uint16_t *even = (const uint16_t*)rows + 2 * s * cols, *odd = even + cols;
      uint32_t* line = to + s * cols;
      for (int64_t c = 0; c < cols; c++) line[c] = (uint32_t)even[c] | (uint32_t)odd[c] << 16;
    }
  }
}

// Float32 rows as the words of a left side.
template <bool PAIRS>
LK void learn_words(const float* rows, int64_t numbers, uint32_t* to) {
  if constexpr (!PAIRS) memcpy(to, rows, (size_t)numbers * 4);
  else
    for (int64_t i = 0; i < numbers; i += kLanes) store_bf16((uint16_t*)to + i, load(rows + i));
}

static void learn_turn(const float* square, float* to) {
  for (int64_t top = 0; top < kSquare; top += kLanes)
    for (int64_t c = 0; c < kSquare; c += kLanes)
      transpose16(square + top * kSquare + c, kSquare, to + c * kSquare + top, kSquare);
}

}  // namespace
