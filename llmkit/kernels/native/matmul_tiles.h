// The inner loops of y = x W^T: one tile of R x 16 outputs by N batch rows in registers, all columns in order.
//
// Every output is one chain of additions over the columns, from its start value on, whatever the tile: so a row's
// result depends neither on its batch mates nor on the number of threads.
#pragma once
#include "matmul_prepare.h"

namespace {

LK F start_value(const Output& out, const float* y, int64_t n, int64_t left) {
  F value = out.bias ? load_first(out.bias + n, left) : zero();
  return out.accumulate ? add(value, load_first(y, left)) : value;
}

enum Inner { kInnerF32, kInnerBf16, kInnerBf16Dot };

// Columns of `w` (R blocks of 16 rows, `stride` bytes apart) times a panel of N rows, onto rows b.. of the output.
// `steps` counts columns (F32) or pairs of columns (Bf16).
template <Inner KIND, int R, int N>
static void float_tile(const char* w, size_t stride, const float* x, int64_t steps, const Output& out, int64_t b,
                       int64_t n, int64_t rows) {
  F acc[R][N];
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int j = 0; j < N; j++)
      acc[r][j] = start_value(out, out.y + (b + j) * out.stride + n + r * kLanes, n + r * kLanes, rows - n - r * kLanes);
  for (int64_t s = 0; s < steps; s++) {
    LK_UNROLL for (int r = 0; r < R; r++) __builtin_prefetch(w + r * stride + 1024, 0, 3);
    if (KIND == kInnerF32) {
      F v[R];
      LK_UNROLL for (int r = 0; r < R; r++) v[r] = load((const float*)(w + r * stride));
      LK_UNROLL for (int j = 0; j < N; j++) {
        F value = set1(x[j]);
        LK_UNROLL for (int r = 0; r < R; r++) acc[r][j] = fma(v[r], value, acc[r][j]);
      }
      x += N;
    } else if (KIND == kInnerBf16) {
      I v[R];
      LK_UNROLL for (int r = 0; r < R; r++) v[r] = load_int(w + r * stride);
      F half[R];
      LK_UNROLL for (int r = 0; r < R; r++) half[r] = even_bf16(v[r]);
      LK_UNROLL for (int j = 0; j < N; j++) {
        F value = set1(x[j]);
        LK_UNROLL for (int r = 0; r < R; r++) acc[r][j] = fma(half[r], value, acc[r][j]);
      }
      LK_UNROLL for (int r = 0; r < R; r++) half[r] = odd_bf16(v[r]);
      LK_UNROLL for (int j = 0; j < N; j++) {
        F value = set1(x[N + j]);
        LK_UNROLL for (int r = 0; r < R; r++) acc[r][j] = fma(half[r], value, acc[r][j]);
      }
      x += 2 * N;
    } else {
      I v[R];
      LK_UNROLL for (int r = 0; r < R; r++) v[r] = load_int(w + r * stride);
      LK_UNROLL for (int j = 0; j < N; j++) {
        int32_t pair;
        memcpy(&pair, x + j, 4);
        LK_UNROLL for (int r = 0; r < R; r++) acc[r][j] = dot_bf16(acc[r][j], v[r], pair);
      }
      x += N;
    }
    w += 64;
  }
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int j = 0; j < N; j++)
      store_first(out.y + (b + j) * out.stride + n + r * kLanes, acc[r][j], rows - n - r * kLanes);
}

// Four columns of T blocks, in codes (or the low or high nibbles of them), times those of N batch rows, word by word.
template <bool FOUR, int T, int N>
LK void dot_row(I c[T][N], const I codes[T], bool high, const char* x) {
  I w[T];
  LK_UNROLL for (int t = 0; t < T; t++) w[t] = !FOUR ? codes[t] : high ? high_nibbles(codes[t]) : low_nibbles(codes[t]);
  LK_UNROLL for (int j = 0; j < N; j++) {
    int32_t word;
    memcpy(&word, x + j * 4, 4);
    LK_UNROLL for (int t = 0; t < T; t++) c[t][j] = FOUR ? dot4(c[t][j], w[t], word) : dot8(c[t][j], w[t], word);
  }
}

// Blocks that one loop multiplies with several batch rows: what is loaded of a row serves all of them. (A product with an
// operand from memory takes half as long again as one of registers, on Xeons with VNNI.)
constexpr int kPair = kIntBatch < 8 ? 1 : 2;

// The same for int8 or int4 weights, blocks `stride` bytes apart: integers within a group, floats across groups. Of a
// lone block `stride` may be 0: what lies beyond the rows is not stored.
template <bool FOUR, int R, int N>
static void int_tile(const uint8_t* w, size_t stride, const Prepared& p, const Output& out, int64_t b, int64_t n,
                     int64_t rows) {
  constexpr int kCodes = FOUR ? 256 : 512;       // bytes of a group
  constexpr int kTogether = N > 1 ? R : 1;       // one row's blocks are streams of their own
  const char* x = (const char*)p.codes + b * p.cols;
  const float* scales = p.scales + b * (p.cols / kGroup);
  const int32_t* zeros = p.zeros + b * (p.cols / kGroup);
  F acc[R][N];
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int j = 0; j < N; j++)
      acc[r][j] = start_value(out, out.y + (b + j) * out.stride + n + r * kLanes, n + r * kLanes, rows - n - r * kLanes);
  for (int64_t unit = 0; unit < p.cols / kWideGroup; unit++) {
    const uint8_t* halves = w + 2 * kCodes;
    for (int group = 0; group < 2; group++) {
      LK_UNROLL for (int first = 0; first < R; first += kTogether) {
        I c[kTogether][N];
        LK_UNROLL for (int j = 0; j < N; j++)
          LK_UNROLL for (int t = 0; t < kTogether; t++) c[t][j] = set1_int(zeros[j]);
        LK_UNROLL for (int line = 0; line < kCodes / 64; line++) {
          I codes[kTogether];
          LK_UNROLL for (int t = 0; t < kTogether; t++) {
            const uint8_t* from = w + (first + t) * stride + line * 64;
            __builtin_prefetch(from + (FOUR ? 2304 : 4352), 0, 3);
            codes[t] = load_int(from);
          }
          if (FOUR) {
            dot_row<true, kTogether, N>(c, codes, false, x + line * 2 * N * 4);
            dot_row<true, kTogether, N>(c, codes, true, x + (line * 2 + 1) * N * 4);
          } else {
            dot_row<false, kTogether, N>(c, codes, false, x + line * N * 4);
          }
        }
        LK_UNROLL for (int t = 0; t < kTogether; t++) {
          F scale = load_f16((const uint16_t*)(halves + (first + t) * stride) + group * kLanes);
          LK_UNROLL for (int j = 0; j < N; j++)
            acc[first + t][j] = fma(to_float(c[t][j]), mul(scale, set1(scales[j])), acc[first + t][j]);
        }
      }
      w += kCodes;
      x += kGroup * N;
      scales += N;
      zeros += N;
    }
    w += 64;
  }
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int j = 0; j < N; j++)
      store_first(out.y + (b + j) * out.stride + n + r * kLanes, acc[r][j], rows - n - r * kLanes);
}

typedef void (*FloatTile)(const char*, size_t, const float*, int64_t, const Output&, int64_t, int64_t, int64_t);
typedef void (*IntTile)(const uint8_t*, size_t, const Prepared&, const Output&, int64_t, int64_t, int64_t);

// Tables of tiles by blocks of rows and by batch rows, filled at compile time.
template <Inner KIND, int R, int N>
struct FillFloat {
  static void into(FloatTile table[kFloatRows][kFloatBatch]) {
    table[R - 1][N - 1] = float_tile<KIND, R, N>;
    FillFloat<KIND, N == 1 ? R - 1 : R, N == 1 ? kFloatBatch : N - 1>::into(table);
  }
};
template <Inner KIND, int N>
struct FillFloat<KIND, 0, N> {
  static void into(FloatTile[kFloatRows][kFloatBatch]) {}
};
template <bool FOUR, int N>
struct FillInt {
  static void into(IntTile table[kIntBatch]) {
    table[N - 1] = int_tile<FOUR, N == 1 ? 1 : kPair, N>;
    FillInt<FOUR, N - 1>::into(table);
  }
};
template <bool FOUR>
struct FillInt<FOUR, 0> {
  static void into(IntTile[kIntBatch]) {}
};

constexpr int kStreams = 4;  // blocks read side by side for one batch row: a core gets more out of several streams

struct Tiles {
  FloatTile f32[kFloatRows][kFloatBatch];
  FloatTile bf16[kFloatRows][kFloatBatch];
  IntTile int8[kIntBatch], int4[kIntBatch];
  IntTile int8_streams, int4_streams;
};
Tiles tiles;

LK void fill_tiles() {
  FillFloat<kInnerF32, kFloatRows, kFloatBatch>::into(tiles.f32);
  FillFloat<kBf16Dot ? kInnerBf16Dot : kInnerBf16, kFloatRows, kFloatBatch>::into(tiles.bf16);
  FillInt<false, kIntBatch>::into(tiles.int8);
  FillInt<true, kIntBatch>::into(tiles.int4);
  tiles.int8_streams = int_tile<false, kStreams, 1>;
  tiles.int4_streams = int_tile<true, kStreams, 1>;
}

}  // namespace
