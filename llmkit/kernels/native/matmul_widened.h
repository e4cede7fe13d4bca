// The inner loop of y = x W^T for codes that become float32 in registers: 8-bit floats, tables of floats, groups whose
// columns lie scattered. The numbers are the very ones that a file's own reader gives, and the products float32.
#pragma once
#include "matmul_grouped.h"

namespace {

struct WidenedLayout {
  int64_t head;           // bytes before the first block
  int64_t scales, bases;  // offsets in a block
  int64_t bytes;          // of a block
  bool nibbles;
};

LK WidenedLayout widened_layout(const Weight& w) {
  int64_t number = w.wide ? 4 : 2, codes = w.kind & 3, groups = (w.cols + w.group - 1) / w.group;
  WidenedLayout g;
  g.nibbles = codes == kFours || codes == kFloats;
  g.head = codes == kFloats ? 64 : w.kind & kScattered ? round_up(w.cols * 4, 64) : 0;
  g.scales = round_up(g.nibbles ? round_up(w.cols, 2) / 2 * kLanes : w.cols * kLanes, 64);
  g.bases = g.scales + round_up(groups * kLanes * number, 64);
  g.bytes = g.bases + (w.kind & kBased ? round_up(groups * kLanes * number, 64) : 0);
  return g;
}

// What the codes of 4 bits stand for: places from -8 on, places from 0 on where there are bases, or a table's floats.
LK F table_of(const Weight& w) {
  float places[kLanes];
  for (int i = 0; i < kLanes; i++) places[i] = (float)(w.kind & kBased ? i : i - 8);
  return load((w.kind & 3) == kFloats ? (const float*)w.data : places);
}

// Scales (or bases) of 16 rows.
LK F numbers_at(const char* section, int64_t group, bool wide) {
  int64_t at = group * kLanes;
  return wide ? load((const float*)section + at) : load_f16((const uint16_t*)section + at);
}

// each(column of x, the numbers of R blocks of 16 rows there) for all columns.
template <int CODES, int R, class Each>
LK void each_column(const Weight& w, const WidenedLayout& g, const char* block, Each each) {
  constexpr int kTogether = CODES == kFours || CODES == kFloats ? 2 : 1;  // columns in 16 bytes
  const int32_t* order = w.kind & kScattered ? (const int32_t*)w.data : nullptr;
  const uint8_t* codes = (const uint8_t*)block;
  bool wide = w.wide != 0, based = (w.kind & kBased) != 0;
  F table = table_of(w), scale[R], base[R] = {};
  for (int64_t c = 0, group = 0; c < w.cols; group++) {
    LK_UNROLL for (int r = 0; r < R; r++) {
      scale[r] = numbers_at(block + r * g.bytes + g.scales, group, wide);
      if (CODES == kE4m3) scale[r] = mul(scale[r], set1(256.0f));
      if (based) base[r] = numbers_at(block + r * g.bytes + g.bases, group, wide);
    }
    for (int64_t end = c + w.group < w.cols ? c + w.group : w.cols; c < end; c += kTogether, codes += kLanes) {
      F number[kTogether][R];
      LK_UNROLL for (int r = 0; r < R; r++) {
        const uint8_t* from = codes + r * g.bytes;
        if (CODES == kE4m3) {
          number[0][r] = load_e4m3(from);
        } else if (CODES == kEights) {
          number[0][r] = sub(to_float(load_u8(from)), set1(128.0f));
        } else {
          I word = load_u8(from);
          number[0][r] = lookup_floats(table, word);
          number[kTogether - 1][r] = lookup_floats(table, next_nibble(word));
        }
        LK_UNROLL for (int i = 0; i < kTogether; i++) number[i][r] = mul(number[i][r], scale[r]);
        if (based) LK_UNROLL for (int i = 0; i < kTogether; i++) number[i][r] = add(number[i][r], base[r]);
      }
      each(order ? order[c] : c, number[0]);
      if (kTogether == 2 && c + 1 < end) each(order ? order[c + 1] : c + 1, number[kTogether - 1]);
    }
  }
}

template <int CODES, int R, int N>
static void widened_tile(const Weight& w, const WidenedLayout& g, const char* block, const Prepared& p,
                         const Output& out, int64_t b, int64_t n) {
  const float* x = p.values + b * p.cols;
  F acc[R][N];
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int j = 0; j < N; j++)
      acc[r][j] = start_value(out, out.y + (b + j) * out.stride + n + r * kLanes, n + r * kLanes,
                              w.rows - n - r * kLanes);
  each_column<CODES, R>(w, g, block, [&](int64_t column, const F* numbers) LK_LAMBDA {
    LK_UNROLL for (int j = 0; j < N; j++) {
      F value = set1(x[column * N + j]);
      LK_UNROLL for (int r = 0; r < R; r++) acc[r][j] = fma(numbers[r], value, acc[r][j]);
    }
  });
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int j = 0; j < N; j++)
      store_first(out.y + (b + j) * out.stride + n + r * kLanes, acc[r][j], w.rows - n - r * kLanes);
}

typedef void (*WidenedTile)(const Weight&, const WidenedLayout&, const char*, const Prepared&, const Output&, int64_t,
                            int64_t);

template <int CODES, int N>
struct FillWidened {
  static void into(WidenedTile table[kFloatBatch]) {
    table[N - 1] = widened_tile<CODES, 1, N>;
    FillWidened<CODES, N - 1>::into(table);
  }
};
template <int CODES>
struct FillWidened<CODES, 0> {
  static void into(WidenedTile[kFloatBatch]) {}
};

struct WidenedTiles {
  WidenedTile each[4][kFloatBatch], streams[4];
};
WidenedTiles widened_tiles;

template <int CODES>
LK void fill_codes() {
  FillWidened<CODES, kFloatBatch>::into(widened_tiles.each[CODES]);
  widened_tiles.streams[CODES] = widened_tile<CODES, kGroupedStreams, 1>;
}

LK void fill_widened_tiles() {
  fill_codes<kEights>(), fill_codes<kFloats>(), fill_codes<kE4m3>();
  for (int n = 0; n < kFloatBatch; n++) widened_tiles.each[kFours][n] = widened_tiles.each[kFloats][n];
  widened_tiles.streams[kFours] = widened_tiles.streams[kFloats];
}

}  // namespace
