// Causal attention over a cache of keys and values, contiguous or in blocks, with an online softmax (arXiv:1805.02867).
//
// A task is one key/value head, up to kTaskRows of the query rows that share it (positions x heads of the group), and
// the context they see. Keys and values are brought into float32 64 positions at a time, keys transposed, so that both
// products run over full vectors whatever the cache's type. The context is cut into chunks of kChunk positions, each
// with its own softmax, merged from left to right: when a sequence has one query row, chunks are tasks of their own.
// Tiles and chunks start at multiples of their size, so a row's bits depend neither on threads nor on its batch mates.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

constexpr int kTile = 64, kTaskRows = 32, kVectors = kTile / kLanes;
constexpr int64_t kChunk = 1024;

LK int64_t whole_lanes(int64_t values) { return (values + kLanes - 1) / kLanes * kLanes; }
LK float minus_infinity() { return -__builtin_inff(); }

// One worker's memory.
struct AttentionTile {
  float* keys;     // (key_dim, kTile)
  float* values;   // (kTile, value_dim)
  float* queries;  // (kTaskRows, key_dim)
  float* scores;   // (kTaskRows, kTile)
  float* sums;     // (kTaskRows, value_dim) of this chunk
  float* merged;   // (kTaskRows, value_dim) of all chunks so far
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

// How one sequence is cut into tasks.
struct Share {
  int64_t first_row, positions;  // query rows
  int64_t length;
  int64_t row_tiles;
  int64_t first_chunk, chunks;
  bool split;  // its chunks are tasks
  int64_t tasks;
  size_t partial_floats;
};

LK Share share_of(const Attention& a, int64_t b) {
  Share s;
  s.first_row = a.query_start ? a.query_start[b] : b;
  s.positions = a.query_start ? a.query_start[b + 1] - s.first_row : 1;
  s.length = a.lengths[b];
  s.row_tiles = (s.positions * (a.heads / a.kv_heads) + kTaskRows - 1) / kTaskRows;
  int64_t seen_first = s.length - s.positions + 1, low = a.window > 0 && seen_first > a.window ? seen_first - a.window : 0;
  s.first_chunk = low / kChunk;
  s.chunks = (s.length + kChunk - 1) / kChunk - s.first_chunk;
  s.chunks = s.chunks < 1 ? 1 : s.chunks;
  s.split = s.positions == 1 && s.chunks > 1;
  s.tasks = a.kv_heads * s.row_tiles * (s.split ? s.chunks : 1);
  s.partial_floats = s.split ? (size_t)(a.heads * s.chunks * (whole_lanes(a.value_dim) + kLanes)) : 0;
  return s;
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
LK void step(Place& place) {
  if (++place.inner == place.block_size) place.inner = 0, place.block++;
}
LK int64_t offset(const Place& place, int64_t block_stride, int64_t token_stride) {
  return (place.table ? place.table[place.block] : place.block) * block_stride + place.inner * token_stride;
}

LK void prefetch(const void* data, int64_t at, int64_t values, int32_t type) {
  int64_t size = type == kFloat32 ? 4 : type == kBfloat16 ? 2 : 1;
  const char* from = (const char*)data + at * size;
  for (int64_t byte = 0; byte < values * size; byte += 64) __builtin_prefetch(from + byte, 0, 3);
}

// 16 values at `at`, scaled where they are codes; zeros after the head's end.
template <int32_t TYPE>
LK F widened(const void* data, int64_t at, int64_t left, float scale) {
  F value = left >= kLanes ? load_as(data, TYPE, at) : load_tail_as(data, TYPE, at, left);
  return TYPE == kCodes8 ? mul(value, set1(scale)) : value;
}

// Keys (transposed) and values of positions first .. first + count as float32; zeros fill the tile. The positions
// after them, as far as `until`, are asked from memory meanwhile: rows of one head may be pages apart.
template <int32_t TYPE>
static void stage_as(const Attention& a, const AttentionTile& t, int64_t b, int64_t head, int64_t first, int64_t count,
                     int64_t until) {
  int64_t key = whole_lanes(a.key_dim), value = whole_lanes(a.value_dim);
  Place here = place_of(a, b, first), ahead = place_of(a, b, first + kTile);
  for (int64_t top = 0; top < kTile; top += kLanes) {
    int64_t rows = count - top < kLanes ? count - top : kLanes, k_at[kLanes];
    float k_scale[kLanes];
    for (int64_t i = 0; i < rows; i++, step(here)) {
      if (first + kTile + top + i < until) {
        prefetch(a.k, offset(ahead, a.k_block, a.k_token) + head * a.k_head, a.key_dim, TYPE);
        prefetch(a.v, offset(ahead, a.v_block, a.v_token) + head * a.v_head, a.value_dim, TYPE);
        step(ahead);
      }
      k_at[i] = offset(here, a.k_block, a.k_token) + head * a.k_head;
      int64_t v_at = offset(here, a.v_block, a.v_token) + head * a.v_head;
      float v_scale = 1.0f;
      if (TYPE == kCodes8) {
        int64_t s_at = offset(here, a.scale_block, a.scale_token) + head * a.scale_head;
        k_scale[i] = a.k_scale[s_at], v_scale = a.v_scale[s_at];
      }
      for (int64_t e = 0; e < value; e += kLanes)
        store(t.values + (top + i) * value + e, widened<TYPE>(a.v, v_at + e, a.value_dim - e, v_scale));
    }
    for (int64_t i = rows < 0 ? 0 : rows; i < kLanes; i++) memset(t.values + (top + i) * value, 0, (size_t)value * 4);
    for (int64_t e = 0; e < key; e += kLanes) {
      F square[kLanes];
      if (rows == kLanes && a.key_dim - e >= kLanes) {
        LK_UNROLL for (int i = 0; i < kLanes; i++)
          square[i] = widened<TYPE>(a.k, k_at[i] + e, kLanes, k_scale[i]);
        transpose16(square, t.keys + e * kTile + top, kTile);
      } else {
        LK_UNROLL for (int i = 0; i < kLanes; i++)
          square[i] = i < rows ? widened<TYPE>(a.k, k_at[i] + e, a.key_dim - e, k_scale[i]) : zero();
        transpose16(square, t.keys + e * kTile + top, kTile);
      }
    }
  }
}

LK void stage(const Attention& a, const AttentionTile& t, int64_t b, int64_t head, int64_t first, int64_t count,
              int64_t until) {
  if (a.kv_type == kFloat32) stage_as<kFloat32>(a, t, b, head, first, count, until);
  if (a.kv_type == kBfloat16) stage_as<kBfloat16>(a, t, b, head, first, count, until);
  if (a.kv_type == kCodes8) stage_as<kCodes8>(a, t, b, head, first, count, until);
}

// out[r][c] = start * scale[r] + sum over s of left[r][s] * right[s][c], for R rows by C vectors.
template <int R, int C>
LK void product_tile(const float* left, int64_t left_stride, const float* right, int64_t right_stride, float* out,
                     int64_t out_stride, int64_t steps, const float* factor) {
  F acc[R][C];
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int c = 0; c < C; c++)
      acc[r][c] = factor ? mul(load(out + r * out_stride + c * kLanes), set1(factor[r])) : zero();
  for (int64_t s = 0; s < steps; s++) {
    F v[C];
    LK_UNROLL for (int c = 0; c < C; c++) v[c] = load(right + s * right_stride + c * kLanes);
    LK_UNROLL for (int r = 0; r < R; r++) {
      F value = set1(left[r * left_stride + s]);
      LK_UNROLL for (int c = 0; c < C; c++) acc[r][c] = fma(value, v[c], acc[r][c]);
    }
  }
  LK_UNROLL for (int r = 0; r < R; r++)
    LK_UNROLL for (int c = 0; c < C; c++) store(out + r * out_stride + c * kLanes, acc[r][c]);
}

template <int R>
LK void product_rows(const float* left, int64_t left_stride, const float* right, int64_t right_stride, float* out,
                     int64_t cols, int64_t steps, const float* factor) {
  int64_t c = 0;
  for (; c + kAttendCols * kLanes <= cols; c += kAttendCols * kLanes)
    product_tile<R, kAttendCols>(left, left_stride, right + c, right_stride, out + c, cols, steps, factor);
  for (; c < cols; c += kLanes)
    product_tile<R, 1>(left, left_stride, right + c, right_stride, out + c, cols, steps, factor);
}

static void product(const float* left, int64_t left_stride, const float* right, int64_t right_stride, float* out,
                    int64_t cols, int64_t steps, int64_t rows, const float* factor) {
  int64_t r = 0;
  for (; r + kAttendRows <= rows; r += kAttendRows)
    product_rows<kAttendRows>(left + r * left_stride, left_stride, right, right_stride, out + r * cols, cols, steps,
                              factor ? factor + r : nullptr);
  for (; r < rows; r++)
    product_rows<1>(left + r * left_stride, left_stride, right, right_stride, out + r * cols, cols, steps,
                    factor ? factor + r : nullptr);
}

// A tile's scores become weights; returns by how much the row's earlier sums shrink.
static float soften(const Attention& a, float* scores, int64_t low, int64_t high, float* most, float* weight) {
  if (low >= high) {
    memset(scores, 0, kTile * 4);
    return 1.0f;
  }
  F s[kVectors];
  LK_UNROLL for (int i = 0; i < kVectors; i++) {
    s[i] = mul(load(scores + i * kLanes), set1(a.scale));
    if (a.softcap > 0) s[i] = mul(set1(a.softcap), tanh(div(s[i], set1(a.softcap))));
    store(scores + i * kLanes, s[i]);
  }
  bool whole = low == 0 && high == kTile;
  if (!whole) {
    for (int64_t i = 0; i < low; i++) scores[i] = minus_infinity();
    for (int64_t i = high; i < kTile; i++) scores[i] = minus_infinity();
    LK_UNROLL for (int i = 0; i < kVectors; i++) s[i] = load(scores + i * kLanes);
  }
  F top = s[0];
  LK_UNROLL for (int i = 1; i < kVectors; i++) top = max(top, s[i]);
  float highest = max_lanes(top);
  highest = highest > *most ? highest : *most;
  LK_UNROLL for (int i = 0; i < kVectors; i++) store(scores + i * kLanes, exp(sub(s[i], set1(highest))));
  if (!whole) {
    for (int64_t i = 0; i < low; i++) scores[i] = 0;
    for (int64_t i = high; i < kTile; i++) scores[i] = 0;
  }
  F total = load(scores);
  LK_UNROLL for (int i = 1; i < kVectors; i++) total = add(total, load(scores + i * kLanes));
  float shrink = *most == minus_infinity() ? 0.0f : exp_one(*most - highest);
  *weight = *weight * shrink + sum_lanes(total);
  *most = highest;
  return shrink;
}

// Softmax and weighted sum over one chunk of the context, for `rows` query rows from `row` of one key/value head.
static void attend_chunk(const Attention& a, AttentionTile& t, int64_t b, const Share& share, int64_t head, int64_t row,
                         int64_t rows, int64_t chunk) {
  int64_t key = whole_lanes(a.key_dim), value = whole_lanes(a.value_dim), group = a.heads / a.kv_heads;
  for (int64_t r = 0; r < rows; r++) t.most[r] = minus_infinity(), t.weight[r] = 0;
  memset(t.sums, 0, (size_t)(rows * value) * 4);
  int64_t seen = share.length - share.positions + 1;  // by the first position
  int64_t low_first = seen + row / group, low = a.window > 0 && low_first > a.window ? low_first - a.window : 0;
  int64_t high = seen + (row + rows - 1) / group;
  int64_t from = chunk * kChunk > low ? chunk * kChunk : low, to = (chunk + 1) * kChunk < high ? (chunk + 1) * kChunk : high;
  for (int64_t first = from / kTile * kTile; first < to; first += kTile) {
    stage(a, t, b, head, first, to - first < kTile ? to - first : kTile, to);
    product(t.queries, key, t.keys, kTile, t.scores, kTile, a.key_dim, rows, nullptr);
    float shrink[kTaskRows];
    for (int64_t r = 0; r < rows; r++) {
      int64_t mine = seen + (row + r) / group, mine_low = a.window > 0 && mine > a.window ? mine - a.window : 0;
      mine_low = mine_low > first ? mine_low - first : 0;
      int64_t mine_high = mine - first < kTile ? mine - first : kTile;
      shrink[r] = soften(a, t.scores + r * kTile, mine_low, mine_high, &t.most[r], &t.weight[r]);
    }
    int64_t count = to - first < kTile ? to - first : kTile;
    product(t.scores, kTile, t.values, value, t.sums, value, count, rows, shrink);
  }
}

// Take one chunk's softmax into what the chunks before it gave.
static void merge(float* sums, float* most, float* weight, const float* chunk_sums, float chunk_most, float chunk_weight,
              int64_t value) {
  if (chunk_most == minus_infinity()) return;
  float top = chunk_most > *most ? chunk_most : *most;
  float ours = *most == minus_infinity() ? 0.0f : exp_one(*most - top), theirs = exp_one(chunk_most - top);
  for (int64_t e = 0; e < value; e += kLanes)
    store(sums + e, fma(load(chunk_sums + e), set1(theirs), mul(load(sums + e), set1(ours))));
  *weight = *weight * ours + chunk_weight * theirs;
  *most = top;
}

static void finish(const Attention& a, int64_t position, int64_t head, const float* sums, float most, float weight) {
  float factor = weight > 0 ? 1.0f / weight : weight == weight ? 0.0f : weight;
  if (a.sinks && weight > 0) {
    float sink = a.sinks[head], top = sink > most ? sink : most, ours = exp_one(most - top);
    factor = ours / (weight * ours + exp_one(sink - top));
  }
  float* out = a.out + position * a.out_stride + head * a.value_dim;
  for (int64_t e = 0; e < a.value_dim; e += kLanes)
    store_first(out + e, mul(load(sums + e), set1(factor)), a.value_dim - e);
}

static void attend_task(const Attention& a, AttentionTile& t, int64_t b, const Share& share, int64_t task, float* partial) {
  int64_t key = whole_lanes(a.key_dim), value = whole_lanes(a.value_dim), group = a.heads / a.kv_heads;
  int64_t parts = share.split ? share.chunks : 1, chunk = task % parts;
  int64_t row = task / parts % share.row_tiles * kTaskRows, head = task / parts / share.row_tiles;
  int64_t rows = share.positions * group - row < kTaskRows ? share.positions * group - row : kTaskRows;
  for (int64_t r = 0; r < rows; r++) {
    int64_t position = share.first_row + (row + r) / group, query = head * group + (row + r) % group;
    for (int64_t e = 0; e < key; e += kLanes)
      store(t.queries + r * key + e, load_first(a.q + position * a.q_stride + query * a.key_dim + e, a.key_dim - e));
  }
  if (share.split) {
    attend_chunk(a, t, b, share, head, row, rows, share.first_chunk + chunk);
    for (int64_t r = 0; r < rows; r++) {
      float* out = partial + ((head * group + row + r) * share.chunks + chunk) * (value + kLanes);
      memcpy(out, t.sums + r * value, (size_t)value * 4);
      out[value] = t.most[r];
      out[value + 1] = t.weight[r];
    }
    return;
  }
  for (int64_t r = 0; r < rows; r++) t.merged_most[r] = minus_infinity(), t.merged_weight[r] = 0;
  memset(t.merged, 0, (size_t)(rows * value) * 4);
  for (int64_t c = 0; c < share.chunks; c++) {
    attend_chunk(a, t, b, share, head, row, rows, share.first_chunk + c);
    for (int64_t r = 0; r < rows; r++)
      merge(t.merged + r * value, &t.merged_most[r], &t.merged_weight[r], t.sums + r * value, t.most[r], t.weight[r], value);
  }
  for (int64_t r = 0; r < rows; r++)
    finish(a, share.first_row + (row + r) / group, head * group + (row + r) % group, t.merged + r * value,
           t.merged_most[r], t.merged_weight[r]);
}

// Memory shared by the team for sequences whose chunks are tasks; beside it each worker needs attention_tile_bytes.
static size_t attention_partial_bytes(const Attention& a) {
  size_t floats = 0;
  for (int64_t b = 0; b < a.sequences; b++) floats += share_of(a, b).partial_floats;
  return floats * 4;
}

static void merge_partials(const Attention& a, AttentionTile& t, int64_t head, const Share& share, const float* partial) {
  int64_t value = whole_lanes(a.value_dim);
  float most = minus_infinity(), weight = 0;
  memset(t.merged, 0, (size_t)value * 4);
  for (int64_t chunk = 0; chunk < share.chunks; chunk++) {
    const float* one = partial + (head * share.chunks + chunk) * (value + kLanes);
    merge(t.merged, &most, &weight, one, one[value], one[value + 1], value);
  }
  finish(a, share.first_row, head, t.merged, most, weight);
}

// `partial`: attention_partial_bytes(a) shared; `memory`: attention_tile_bytes(a) of this worker's own.
// Holds a barrier where chunks are tasks; ends without one.
static void attend(Worker& worker, const Attention& a, float* partial, char* memory) {
  AttentionTile t = attention_tile(a, memory);
  for (int phase = 0; phase < 2; phase++) {  // chunks, then their merging
    int64_t b = 0, base = 0, task = claim(worker, 1);
    bool any_split = false;
    float* mine = partial;
    for (; b < a.sequences; b++) {
      Share share = share_of(a, b);
      any_split |= share.split;
      int64_t tasks = phase == 0 ? share.tasks : share.split ? a.heads : 0;
      for (; task < base + tasks; task = claim(worker, 1)) {
        if (phase == 0)
          attend_task(a, t, b, share, task - base, mine);
        else
          merge_partials(a, t, task - base, share, mine);
      }
      base += tasks;
      mine += share.partial_floats;
    }
    if (!any_split) return;
    if (phase == 0) barrier(worker);
  }
}

}  // namespace
