// 64 positions of attention: their scores against some query rows, and the sums of their values.
//
// With few query rows, as when a text is written, keys and values are read where the cache has them, in its own type:
// each number is used so seldom that a copy would take longer than its use. With many rows, as in a prompt, they are
// first brought into float32. Both ways multiply and add the same numbers in the same order, so that a row's bits are
// the same alone and in a prompt. Codes enter products as they are: the scale of a key multiplies its score, that of a
// value its weight.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

constexpr int kTile = 64, kTaskRows = 32, kVectors = kTile / kLanes;

LK int64_t whole_lanes(int64_t values) { return (values + kLanes - 1) / kLanes * kLanes; }
LK float minus_infinity() { return -__builtin_inff(); }

// One worker's memory.
struct AttentionTile {
  float* keys;     // (key_dim, kTile), with more than kDirectRows query rows
  float* values;   // (kTile, value_dim), the same
  float* queries;  // (kTaskRows, key_dim)
  float* scores;   // (kTaskRows, kTile)
  float* sums;     // (kTaskRows, value_dim) of this chunk
  float* merged;   // (kTaskRows, value_dim) of all chunks so far
  alignas(64) float k_scale[kTile], v_scale[kTile];  // kCodes8: of each position
  int64_t v_at[kTile];                               // where its value starts
  float most[kTaskRows], weight[kTaskRows], merged_most[kTaskRows], merged_weight[kTaskRows];
};

static size_t attention_tile_bytes(const Attention& a) {
  int64_t key = whole_lanes(a.key_dim), value = whole_lanes(a.value_dim);
  return (size_t)(key * kTile + kTile * value + kTaskRows * (key + kTile + 2 * value)) * 4;
}

static AttentionTile attention_tile(const Attention& a, char* memory) {
  int64_t key = whole_lanes(a.key_dim), value = whole_lanes(a.value_dim);
  AttentionTile t;
  t.keys = (float*)memory;
  t.values = t.keys + key * kTile;
  t.queries = t.values + kTile * value;
  t.scores = t.queries + kTaskRows * key;
  t.sums = t.scores + kTaskRows * kTile;
  t.merged = t.sums + kTaskRows * value;
  return t;
}

// Walks a sequence's positions through its blocks.
struct Place {
  const int32_t* table;  // null: one block, the sequence's own
  int64_t block, inner, block_size;
};

LK Place place_of(const Attention& a, int64_t b, int64_t position) {
  if (!a.block_table) return Place{nullptr, b, position, INT64_MAX};
  return Place{a.block_table + b * a.table_stride, position / a.block_size, position % a.block_size, a.block_size};
}
LK int64_t offset(const Place& place, int64_t block_stride, int64_t token_stride) {
  return (place.table ? place.table[place.block] : place.block) * block_stride + place.inner * token_stride;
}

// Where a tile's positions are, 16 after 16, and those that are asked from memory meanwhile, a tile ahead as far as
// `until`: rows of one head may be pages apart.
struct Walk {
  Place here, ahead;
  int64_t head, asked, until;
};

LK Walk walk_of(const Attention& a, int64_t b, int64_t head, int64_t first, int64_t until) {
  return Walk{place_of(a, b, first), place_of(a, b, first + kTile), head, first + kTile, until};
}

// Of `most` positions those that lie side by side from here on.
LK int64_t side_by_side(const Place& place, int64_t most) {
  return place.block_size - place.inner < most ? place.block_size - place.inner : most;
}
LK void advance(Place& place, int64_t positions) {
  place.inner += positions;
  if (place.inner == place.block_size) place.inner = 0, place.block++;
}

template <int32_t TYPE>
LK void prefetch(const void* data, int64_t at, int64_t stride, int64_t rows, int64_t values) {
  constexpr int64_t kSize = TYPE == kFloat32 ? 4 : TYPE == kBfloat16 ? 2 : 1;
  const char* from = (const char*)data + at * kSize;
  for (int64_t row = 0; row < rows; row++, from += stride * kSize)
    for (int64_t byte = 0; byte < values * kSize; byte += 64) __builtin_prefetch(from + byte, 0, 3);
}

// Positions `top` to `top` + 16 of the tile. The first one stands for those from `count` on: memory that can be read.
template <int32_t TYPE>
LK void locate(const Attention& a, AttentionTile& t, Walk& w, int64_t top, int64_t count, int64_t k_at[kLanes]) {
  int64_t wanted = w.until - w.asked < kLanes ? w.until - w.asked : kLanes;
  for (int64_t i = 0, run; i < wanted; i += run, w.asked += run) {
    run = side_by_side(w.ahead, wanted - i);
    prefetch<TYPE>(a.k, offset(w.ahead, a.k_block, a.k_token) + w.head * a.k_head, a.k_token, run, a.key_dim);
    prefetch<TYPE>(a.v, offset(w.ahead, a.v_block, a.v_token) + w.head * a.v_head, a.v_token, run, a.value_dim);
    advance(w.ahead, run);
  }
  int64_t here = count - top < kLanes ? count - top : kLanes;
  for (int64_t i = 0, run; i < here; i += run) {
    run = side_by_side(w.here, here - i);
    int64_t k = offset(w.here, a.k_block, a.k_token) + w.head * a.k_head;
    int64_t v = offset(w.here, a.v_block, a.v_token) + w.head * a.v_head;
    int64_t scale = offset(w.here, a.scale_block, a.scale_token) + w.head * a.scale_head;
    for (int64_t j = 0; j < run; j++) {
      k_at[i + j] = k + j * a.k_token, t.v_at[top + i + j] = v + j * a.v_token;
      if (TYPE != kCodes8) continue;
      t.k_scale[top + i + j] = a.k_scale[scale + j * a.scale_token];
      t.v_scale[top + i + j] = a.v_scale[scale + j * a.scale_token];
    }
    advance(w.here, run);
  }
  for (int64_t i = here; i < kLanes; i++) k_at[i] = k_at[0], t.k_scale[top + i] = t.v_scale[top + i] = 0;
}

// use(e, number e of the keys of 16 positions) for every e in order. Narrow types are turned from rows into columns as
// words, two or four numbers at once.
template <int32_t TYPE, class Use>
LK void each_key(const Attention& a, const int64_t at[kLanes], Use use) {
  constexpr int kEach = TYPE == kBfloat16 ? 2 : TYPE == kCodes8 ? 4 : 1;  // numbers in a word
  F square[kLanes], column[kLanes];
  int64_t e = 0;
  for (; e + kEach * kLanes <= a.key_dim; e += kEach * kLanes) {
    LK_UNROLL for (int i = 0; i < kLanes; i++)
      square[i] = load((const float*)((const char*)a.k + (at[i] + e) * (4 / kEach)));
    transpose16(square, column);
    auto word = [&](int c) LK_LAMBDA {
      if constexpr (TYPE == kFloat32) use(e + c, column[c]);
      if constexpr (TYPE == kBfloat16) {
        use(e + 2 * c, even_bf16(as_int(column[c])));
        use(e + 2 * c + 1, odd_bf16(as_int(column[c])));
      }
      if constexpr (TYPE == kCodes8) {
        use(e + 4 * c, code_of<0>(as_int(column[c])));
        use(e + 4 * c + 1, code_of<1>(as_int(column[c])));
        use(e + 4 * c + 2, code_of<2>(as_int(column[c])));
        use(e + 4 * c + 3, code_of<3>(as_int(column[c])));
      }
    };
    if constexpr (kParts == 1) {  // a square fits into the registers
      LK_UNROLL for (int c = 0; c < kLanes; c++) word(c);
    } else {
      for (int c = 0; c < kLanes; c++) word(c);
    }
  }
  for (; e < a.key_dim; e += kLanes) {
    int64_t left = a.key_dim - e < kLanes ? a.key_dim - e : kLanes;
    for (int i = 0; i < kLanes; i++) square[i] = load_first_as(a.k, TYPE, at[i] + e, left);
    transpose16(square, column);
    for (int c = 0; c < left; c++) use(e + c, column[c]);
  }
}

// Scores of R query rows from the cache itself.
template <int32_t TYPE, int R>
static void direct_scores(const Attention& a, AttentionTile& t, Walk& w, int64_t count) {
  int64_t stride = whole_lanes(a.key_dim), at[kLanes];
  for (int64_t top = 0; top < count; top += kLanes) {
    locate<TYPE>(a, t, w, top, count, at);
    F acc[R];
    LK_UNROLL for (int r = 0; r < R; r++) acc[r] = zero();
    const float* q = t.queries;
    each_key<TYPE>(a, at, [&](int64_t e, F keys) LK_LAMBDA {
      LK_UNROLL for (int r = 0; r < R; r++) acc[r] = fma(set1(q[r * stride + e]), keys, acc[r]);
    });
    LK_UNROLL for (int r = 0; r < R; r++) store(t.scores + r * kTile + top, acc[r]);
  }
}

// Keys, rows become columns, and values as float32.
template <int32_t TYPE>
static void stage(const Attention& a, AttentionTile& t, Walk& w, int64_t count) {
  int64_t value = whole_lanes(a.value_dim), at[kLanes];
  for (int64_t top = 0; top < count; top += kLanes) {
    locate<TYPE>(a, t, w, top, count, at);
    each_key<TYPE>(a, at, [&](int64_t e, F keys) LK_LAMBDA { store(t.keys + e * kTile + top, keys); });
    for (int64_t i = top; i < count && i < top + kLanes; i++)
      for (int64_t e = 0; e < value; e += kLanes)
        store(t.values + i * value + e, load_first_as(a.v, TYPE, t.v_at[i] + e, a.value_dim - e));
  }
}

// out[r][c] = out[r][c] * factor[r] + sum over s of left[r][s] * right(s, c), for R rows by C vectors from column `c`.
template <int R, int C, class Right>
LK void product_tile(const float* left, int64_t left_stride, Right right, float* out, int64_t out_stride, int64_t c,
                     int64_t steps, const float* factor) {
  F acc[R][C];
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int i = 0; i < C; i++)
      acc[r][i] = factor ? mul(load(out + r * out_stride + c + i * kLanes), set1(factor[r])) : zero();
  for (int64_t s = 0; s < steps; s++) {
    F v[C];
    LK_UNROLL for (int i = 0; i < C; i++) v[i] = right(s, c + i * kLanes);
    LK_UNROLL for (int r = 0; r < R; r++) {
      F value = set1(left[r * left_stride + s]);
      LK_UNROLL for (int i = 0; i < C; i++) acc[r][i] = fma(value, v[i], acc[r][i]);
    }
  }
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int i = 0; i < C; i++) store(out + r * out_stride + c + i * kLanes, acc[r][i]);
}

// The same for all `cols` columns; `last` reads the one that is no whole vector.
template <int R, class Right, class Last>
LK void product_rows(const float* left, int64_t left_stride, Right right, Last last, float* out, int64_t out_stride,
                     int64_t cols, int64_t steps, const float* factor) {
  int64_t c = 0;
  for (; c + kAttendCols * kLanes <= cols; c += kAttendCols * kLanes)
    product_tile<R, kAttendCols>(left, left_stride, right, out, out_stride, c, steps, factor);
  for (; c + kLanes <= cols; c += kLanes)
    product_tile<R, 1>(left, left_stride, right, out, out_stride, c, steps, factor);
  if (c < cols) product_tile<R, 1>(left, left_stride, last, out, out_stride, c, steps, factor);
}

// And for all rows: kAttendRows at a time, then what is left.
template <int R, class Right, class Last>
LK void product(const float* left, int64_t left_stride, Right right, Last last, float* out, int64_t out_stride,
                int64_t cols, int64_t steps, int64_t rows, const float* factor) {
  int64_t r = 0;
  for (; r + R <= rows; r += R)
    product_rows<R>(left + r * left_stride, left_stride, right, last, out + r * out_stride, out_stride, cols, steps,
                    factor ? factor + r : nullptr);
  if constexpr (R > 1)
    if (r < rows)
      product<R - 1>(left + r * left_stride, left_stride, right, last, out + r * out_stride, out_stride, cols, steps,
                     rows - r, factor ? factor + r : nullptr);
}

// Rows up to 4 or 8 are computed too.
template <int32_t TYPE>
static void direct_scores(const Attention& a, AttentionTile& t, Walk& w, int64_t count, int64_t rows) {
  if (rows == 1) return direct_scores<TYPE, 1>(a, t, w, count);
  if (rows == 2) return direct_scores<TYPE, 2>(a, t, w, count);
  if constexpr (kDirectRows >= 4) {
    if (rows == 3) return direct_scores<TYPE, 3>(a, t, w, count);
    if (rows == 4) return direct_scores<TYPE, 4>(a, t, w, count);
  }
  if constexpr (kDirectRows >= 8) return direct_scores<TYPE, 8>(a, t, w, count);
}

// The scores of the positions that `w` walks through, `count` of them, against t.queries; not scaled yet.
static void score(const Attention& a, AttentionTile& t, Walk w, int64_t count, int64_t rows) {
  if (rows <= kDirectRows) {
    if (a.kv_type == kFloat32) direct_scores<kFloat32>(a, t, w, count, rows);
    if (a.kv_type == kBfloat16) direct_scores<kBfloat16>(a, t, w, count, rows);
    if (a.kv_type == kCodes8) direct_scores<kCodes8>(a, t, w, count, rows);
    return;
  }
  if (a.kv_type == kFloat32) stage<kFloat32>(a, t, w, count);
  if (a.kv_type == kBfloat16) stage<kBfloat16>(a, t, w, count);
  if (a.kv_type == kCodes8) stage<kCodes8>(a, t, w, count);
  auto key = [&](int64_t e, int64_t c) LK_LAMBDA { return load(t.keys + e * kTile + c); };
  product<kAttendRows>(t.queries, whole_lanes(a.key_dim), key, key, t.scores, kTile, kTile, a.key_dim, rows, nullptr);
}

template <int32_t TYPE>
static void add_direct_values(const Attention& a, AttentionTile& t, int64_t count, int64_t rows, const float* shrink) {
  int64_t stride = whole_lanes(a.value_dim);
  auto whole = [&](int64_t s, int64_t c) LK_LAMBDA { return load_as(a.v, TYPE, t.v_at[s] + c); };
  auto last = [&](int64_t s, int64_t c) LK_LAMBDA { return load_tail_as(a.v, TYPE, t.v_at[s] + c, a.value_dim - c); };
  product<kAttendRows>(t.scores, kTile, whole, last, t.sums, stride, a.value_dim, count, rows, shrink);
}

// t.sums, shrunk, and the values of the positions that score() went through, weighted with t.scores.
static void add_values(const Attention& a, AttentionTile& t, int64_t count, int64_t rows, const float* shrink) {
  if (rows <= kDirectRows) {
    if (a.kv_type == kFloat32) add_direct_values<kFloat32>(a, t, count, rows, shrink);
    if (a.kv_type == kBfloat16) add_direct_values<kBfloat16>(a, t, count, rows, shrink);
    if (a.kv_type == kCodes8) add_direct_values<kCodes8>(a, t, count, rows, shrink);
    return;
  }
  int64_t value = whole_lanes(a.value_dim);
  auto staged = [&](int64_t s, int64_t c) LK_LAMBDA { return load(t.values + s * value + c); };
  product<kAttendRows>(t.scores, kTile, staged, staged, t.sums, value, value, count, rows, shrink);
}

}  // namespace
