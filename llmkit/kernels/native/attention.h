// Causal attention over a cache of keys and values, contiguous or in blocks, with an online softmax (arXiv:1805.02867).
//
// A task is one key/value head, up to kTaskRows of the query rows that share it (positions x heads of the group), and
// the context they see, 64 positions at a time: see attention_tile.h. The context is cut into chunks of kChunk
// positions, each with its own softmax, merged from left to right: when a sequence has one query row, chunks are tasks
// of their own. Tiles and chunks start at multiples of their size, so a row's bits depend neither on threads nor on its
// batch mates.
#pragma once
#include "attention_tile.h"

namespace {

constexpr int64_t kChunk = 1024;

// The first position that a query sees, of the `seen` up to its own.
LK int64_t first_seen(const Attention& a, int64_t seen) {
  if (a.window <= 0) return 0;
  if (a.chunked) return (seen - 1) / a.window * a.window;
  return seen > a.window ? seen - a.window : 0;
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
  s.first_chunk = first_seen(a, s.length - s.positions + 1) / kChunk;
  s.chunks = (s.length + kChunk - 1) / kChunk - s.first_chunk;
  s.chunks = s.chunks < 1 ? 1 : s.chunks;
  s.split = s.positions == 1 && s.chunks > 1;
  s.tasks = a.kv_heads * s.row_tiles * (s.split ? s.chunks : 1);
  s.partial_floats = s.split ? (size_t)(a.heads * s.chunks * (whole_lanes(a.value_dim) + kLanes)) : 0;
  return s;
}

// A tile's scores become weights; returns by how much the row's earlier sums shrink.
static float soften(const Attention& a, const AttentionTile& t, float* scores, int64_t low, int64_t high, float* most,
                    float* weight) {
  if (low >= high) {
    memset(scores, 0, kTile * 4);
    return 1.0f;
  }
  F s[kVectors];
  LK_UNROLL for (int i = 0; i < kVectors; i++) {
    s[i] = load(scores + i * kLanes);
    if (a.kv_type == kCodes8) s[i] = mul(s[i], load(t.k_scale + i * kLanes));
    s[i] = mul(s[i], set1(a.scale));
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
  if (a.kv_type == kCodes8)
    LK_UNROLL for (int i = 0; i < kVectors; i++)
      store(scores + i * kLanes, mul(load(scores + i * kLanes), load(t.v_scale + i * kLanes)));
  float shrink = *most == minus_infinity() ? 0.0f : exp_one(*most - highest);
  *weight = *weight * shrink + sum_lanes(total);
  *most = highest;
  return shrink;
}

// Softmax and weighted sum over one chunk of the context, for `rows` query rows from `row` of one key/value head.
static void attend_chunk(const Attention& a, AttentionTile& t, int64_t b, const Share& share, int64_t head, int64_t row,
                         int64_t rows, int64_t chunk) {
  int64_t value = whole_lanes(a.value_dim), group = a.heads / a.kv_heads;
  for (int64_t r = 0; r < rows; r++) t.most[r] = minus_infinity(), t.weight[r] = 0;
  memset(t.sums, 0, (size_t)(rows * value) * 4);
  int64_t seen = share.length - share.positions + 1;  // by the first position
  int64_t low = first_seen(a, seen + row / group);
  int64_t high = seen + (row + rows - 1) / group;
  int64_t from = chunk * kChunk > low ? chunk * kChunk : low, to = (chunk + 1) * kChunk < high ? (chunk + 1) * kChunk : high;
  for (int64_t first = from / kTile * kTile; first < to; first += kTile) {
    int64_t count = to - first < kTile ? to - first : kTile;
    score(a, t, walk_of(a, b, head, first, to), count, rows);
    float shrink[kTaskRows];
    for (int64_t r = 0; r < rows; r++) {
      int64_t mine = seen + (row + r) / group, mine_low = first_seen(a, mine);
      mine_low = mine_low > first ? mine_low - first : 0;
      int64_t mine_high = mine - first < kTile ? mine - first : kTile;
      shrink[r] = soften(a, t, t.scores + r * kTile, mine_low, mine_high, &t.most[r], &t.weight[r]);
    }
    add_values(a, t, count, rows, shrink);
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
  // direct_scores may compute with more rows than there are: what lies there could be slow to multiply
  if (rows < kDirectRows) memset(t.queries + rows * key, 0, (size_t)((kDirectRows - rows) * key) * 4);
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
