// The inner loop of y = x W^T for grouped weights: codes of 4 or 8 bits, or places in a table, with a scale and maybe a
// base for each group of columns. As in matmul_tiles.h, an output is one chain of additions over the columns.
#pragma once
#include "grouped.h"
#include "matmul_tiles.h"

namespace {

// What the codes of a table stand for, plus 128: IQ4_NL's and IQ4_XS's values, and twice those of a 4-bit float (E2M1).
#define LK_TABLE(...) {__VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__}  // once for each 16 bytes of a vector
alignas(64) constexpr uint8_t kWideTables[2][64] = {
    LK_TABLE(1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241),
    LK_TABLE(128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116),
};
#undef LK_TABLE

// One scale (or base) of each of 16 rows: a number, or a small whole number times a factor.
LK F scale_of(const uint8_t* section, int64_t place, const GroupLayout& g, F factor) {
  if (g.span) return mul(load_i8((const int8_t*)section + place * kLanes), factor);
  return g.wide ? load((const float*)section + place * kLanes) : load_f16((const uint16_t*)section + place * kLanes);
}
LK F factor_of(const uint8_t* section, int64_t place, const GroupLayout& g) {
  return g.wide ? load((const float*)section + place * kLanes) : load_f16((const uint16_t*)section + place * kLanes);
}

// CODES: kFours, kEights or, for either table, kTableIq4. HALVES: groups of 16 columns.
template <int CODES, bool HALVES, int R, int N>
static void grouped_tile(const uint8_t* w, const GroupLayout& g, const Prepared& p, const Output& out, int64_t b,
                         int64_t n, int64_t rows) {
  constexpr bool kEight = CODES == kEights, kTable = CODES > kEights;
  constexpr int kCodes = kEight ? 512 : 256, kPieces = HALVES ? 2 : 1, kLines = kCodes / 64 / kPieces;
  int64_t groups = p.cols / kGroup, each = HALVES ? 1 : g.group / kGroup, span = g.span / kGroup;
  const char* x = (const char*)p.codes + b * p.cols;
  const float *scales = p.scales + b * groups, *sums = p.sums + b * groups * kPieces;
  const int32_t* zeros = p.zeros + b * groups * kPieces;
  I table = {};
  if (kTable) table = load_int(kWideTables[g.table]);
  F acc[R][N], factor[R] = {}, base_factor[R] = {};
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int j = 0; j < N; j++)
      acc[r][j] = start_value(out, out.y + (b + j) * out.stride + n + r * kLanes, n + r * kLanes, rows - n - r * kLanes);
  const uint8_t* codes_at = w;
  int64_t place = 0, seen = 0, whole = 0, until = 0;  // of scales, and of factors
  for (int64_t group = 0; group < groups; group++) {
    if (g.span && group == until) {
      LK_UNROLL for (int r = 0; r < R; r++) {
        factor[r] = factor_of(w + r * g.bytes + g.factors, whole, g);
        if (g.based) base_factor[r] = factor_of(w + r * g.bytes + g.base_factors, whole, g);
      }
      until += span, whole++;
    }
    LK_UNROLL for (int piece = 0; piece < kPieces; piece++) {
      LK_UNROLL for (int r = 0; r < R; r++) {
        I c[N];
        LK_UNROLL for (int j = 0; j < N; j++) c[j] = set1_int(zeros[piece * N + j]);
        LK_UNROLL for (int i = 0; i < kLines; i++) {
          const int line = piece * kLines + i;
          const uint8_t* from = codes_at + r * g.bytes + line * 64;
          __builtin_prefetch(from + (kEight ? 4096 : 2048), 0, 3);
          I codes = load_int(from);
          int32_t word;
          if (kEight) {
            LK_UNROLL for (int j = 0; j < N; j++) {
              memcpy(&word, x + (line * N + j) * 4, 4);
              c[j] = dot8(c[j], codes, word);
            }
          } else {
            I low = low_nibbles(codes), high = high_nibbles(codes);
            if (kTable) low = lookup(table, low), high = lookup(table, high);
            LK_UNROLL for (int j = 0; j < N; j++) {
              memcpy(&word, x + (line * 2 * N + j) * 4, 4);
              c[j] = kTable ? dot8(c[j], low, word) : dot4(c[j], low, word);
              memcpy(&word, x + ((line * 2 + 1) * N + j) * 4, 4);
              c[j] = kTable ? dot8(c[j], high, word) : dot4(c[j], high, word);
            }
          }
        }
        const uint8_t* block = w + r * g.bytes;
        F scale = scale_of(block + g.scales, place + piece, g, factor[r]);
        LK_UNROLL for (int j = 0; j < N; j++)
          acc[r][j] = fma(to_float(c[j]), mul(scale, set1(scales[j])), acc[r][j]);
        if (g.based) {
          F base = scale_of(block + g.bases, place + piece, g, base_factor[r]);
          LK_UNROLL for (int j = 0; j < N; j++) acc[r][j] = fma(base, set1(sums[piece * N + j]), acc[r][j]);
        }
      }
    }
    if (++seen == each) place += kPieces, seen = 0;
    codes_at += kCodes;
    x += kGroup * N, scales += N, zeros += N * kPieces, sums += N * kPieces;
  }
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int j = 0; j < N; j++)
      store_first(out.y + (b + j) * out.stride + n + r * kLanes, acc[r][j], rows - n - r * kLanes);
}

typedef void (*GroupedTile)(const uint8_t*, const GroupLayout&, const Prepared&, const Output&, int64_t, int64_t,
                            int64_t);

constexpr int kKinds = 6;  // what codes are, and whether groups are halves

LK int kind_of(int32_t format) {
  int codes = format & 3;
  return (codes > kEights ? 2 : codes) + (format & kHalves ? 3 : 0);
}

template <int KIND, int N>
struct FillGrouped {
  static void into(GroupedTile table[kGroupedBatch]) {
    table[N - 1] = grouped_tile<KIND % 3, (KIND >= 3), 1, N>;
    FillGrouped<KIND, N - 1>::into(table);
  }
};
template <int KIND>
struct FillGrouped<KIND, 0> {
  static void into(GroupedTile[kGroupedBatch]) {}
};

struct GroupedTiles {
  GroupedTile each[kKinds][kGroupedBatch], streams[kKinds];
};
GroupedTiles grouped_tiles;

// Where vectors are short, several streams of one loop are only more code.
constexpr int kGroupedStreams = kIntBatch == 1 ? 1 : kStreams;

template <int KIND>
LK void fill_kind() {
  FillGrouped<KIND, kGroupedBatch>::into(grouped_tiles.each[KIND]);
  grouped_tiles.streams[KIND] = grouped_tile<KIND % 3, (KIND >= 3), kGroupedStreams, 1>;
}

LK void fill_grouped_tiles() {
  fill_kind<0>(), fill_kind<1>(), fill_kind<2>(), fill_kind<3>(), fill_kind<4>(), fill_kind<5>();
}

}  // namespace
