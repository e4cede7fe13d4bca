// Attention of training, forwards and backwards, without ever holding all scores (arXiv:2205.14135).
//
// A task is a row of text and one key/value head with the query heads that share it. Its keys and values are laid out
// once as products want them; then 64 queries meet 64 keys at a time. Left sides of products are rows, right sides are
// laid out so that a word of the left side meets a line of words of the right one. Where the machine multiplies pairs
// of bfloat16, and the numbers are such, a word is a pair, and all sums are float32; elsewhere a word is a float32. No
// result depends on threads: a task has one worker.
#pragma once
#include <math.h>

#include "kernels.h"
#include "lanes.h"
#include "learn.h"

namespace {

constexpr int64_t kSquare = 64;  // queries by keys

LK bool in_pairs(const LearntAttention& a) { return kBf16Dot && a.type == kBfloat16; }

// One worker's memory, in words of 4 bytes. Every side of a square is padded with zeros.
struct LearnMemory {
  // of a key/value head: [T/64] squares each
  uint32_t *k_columns, *v_columns;  // [word of E][64]: right sides of scores
  uint32_t *k_lines, *v_lines;      // [word of 64][E]: right sides of sums over keys
  float *d_k, *d_v;                 // (T, E)
  // of 64 queries
  uint32_t *q, *g;              // rows
  uint32_t *q_lines, *g_lines;  // [word of 64][E]
  float *sum, *score, *slope;   // (64, E), (64, 64), (64, 64)
  uint32_t *left, *turned;      // rows of weights, by query and by key
  float *most, *weight, *shrink, *delta;
};

LK int64_t squares_of(const LearntAttention& a) { return (a.length + kSquare - 1) / kSquare; }

LK LearnMemory learn_memory(const LearntAttention& a, char* from, size_t* bytes) {
  LearnMemory m;
  char* at = from;
  int64_t pad = squares_of(a) * kSquare, E = a.head_dim, W = in_pairs(a) ? 2 : 1;  // numbers of a word
  bool back = a.d_out != nullptr;
  auto take = [&](int64_t words) {
    char* here = at;
    at += (size_t)((words + 15) / 16 * 16) * 4;
    return here;
  };
  m.k_columns = (uint32_t*)take(pad * E / W), m.v_lines = (uint32_t*)take(back ? 0 : pad * E / W);
  m.v_columns = (uint32_t*)take(back ? pad * E / W : 0), m.k_lines = (uint32_t*)take(back ? pad * E / W : 0);
  m.d_k = (float*)take(back ? pad * E : 0), m.d_v = (float*)take(back ? pad * E : 0);
  m.q = (uint32_t*)take(kSquare * E / W), m.g = (uint32_t*)take(kSquare * E / W);
  m.q_lines = (uint32_t*)take(kSquare * E / W), m.g_lines = (uint32_t*)take(kSquare * E / W);
  m.sum = (float*)take(kSquare * E);
  m.score = (float*)take(kSquare * kSquare), m.slope = (float*)take(kSquare * kSquare);
  m.left = (uint32_t*)take(kSquare * kSquare), m.turned = (uint32_t*)take(kSquare * kSquare / W);
  m.most = (float*)take(kSquare), m.weight = (float*)take(kSquare);
  m.shrink = (float*)take(kSquare), m.delta = (float*)take(kSquare);
  if (bytes) *bytes = (size_t)(at - from);
  return m;
}

static size_t learn_bytes(const LearntAttention& a) {
  size_t bytes;
  learn_memory(a, nullptr, &bytes);
  return bytes;
}

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

// 64 rows of E numbers as words, those from `count` on zeros.
template <bool PAIRS>
static void learn_rows(const LearntAttention& a, const void* from, int64_t token, int64_t count, uint32_t* to) {
  int64_t E = a.head_dim, words = PAIRS ? E / 2 : E;
  for (int64_t i = 0; i < count; i++)
    if constexpr (PAIRS) memcpy(to + i * words, (const uint16_t*)from + i * token, (size_t)E * 2);
    else
      for (int64_t e = 0; e < E; e += kLanes) store((float*)to + i * E + e, load_as(from, a.type, i * token + e));
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

// Which keys of a square a query sees: from `low` to `high`.
struct Seen {
  int64_t low, high;
};
LK Seen seen_of(const LearntAttention& a, int64_t row, int64_t t, int64_t square) {
  if (t >= a.length) return Seen{0, 0};
  int64_t low = (a.first ? a.first[row * a.length + t] : 0) - square * kSquare, high = t + 1 - square * kSquare;
  low = low < 0 ? 0 : low, high = high > kSquare ? kSquare : high;
  return low < high ? Seen{low, high} : Seen{0, 0};
}
LK int64_t first_square(const LearntAttention& a, int64_t row, int64_t block) {
  return a.first ? a.first[row * a.length + block * kSquare] / kSquare : 0;
}
LK void hide(float* scores, Seen seen, float with) {
  for (int64_t i = 0; i < seen.low; i++) scores[i] = with;
  for (int64_t i = seen.high; i < kSquare; i++) scores[i] = with;
}

// Scores of a query become weights of an online softmax; returns by how much its earlier sums shrink.
LK float learn_soften(float* scores, Seen seen, float scale, float* most, float* weight) {
  if (seen.low >= seen.high) {
    memset(scores, 0, kSquare * 4);
    return 1.0f;
  }
  constexpr int kLines = kSquare / kLanes;
  F s[kLines];
  LK_UNROLL for (int i = 0; i < kLines; i++) store(scores + i * kLanes, mul(load(scores + i * kLanes), set1(scale)));
  hide(scores, seen, -__builtin_inff());
  LK_UNROLL for (int i = 0; i < kLines; i++) s[i] = load(scores + i * kLanes);
  F top = max(max(s[0], s[1]), max(s[2], s[3]));
  float highest = max_lanes(top);
  highest = highest > *most ? highest : *most;
  LK_UNROLL for (int i = 0; i < kLines; i++) store(scores + i * kLanes, exp(sub(s[i], set1(highest))));
  hide(scores, seen, 0.0f);
  F total = load(scores);
  LK_UNROLL for (int i = 1; i < kLines; i++) total = add(total, load(scores + i * kLanes));
  float shrink = *most == -__builtin_inff() ? 0.0f : exp_one(*most - highest);
  *weight = *weight * shrink + sum_lanes(total);
  *most = highest;
  return shrink;
}

LK const void* number_at(const LearntAttention& a, const void* from, int64_t at) {
  return (const char*)from + at * (a.type == kFloat32 ? 4 : 2);
}

template <bool PAIRS>
static void learn_forward(const LearntAttention& a, const LearnMemory& m, int64_t row, int64_t head, int64_t block) {
  int64_t E = a.head_dim, words = PAIRS ? E / 2 : E, square = PAIRS ? kSquare / 2 : kSquare, start = block * kSquare;
  int64_t count = a.length - start < kSquare ? a.length - start : kSquare;
  learn_rows<PAIRS>(a, number_at(a, a.q, row * a.q_row + head * a.q_head + start * a.q_token), a.q_token, count, m.q);
  memset(m.sum, 0, (size_t)(kSquare * E) * 4);
  for (int64_t r = 0; r < kSquare; r++) m.most[r] = -__builtin_inff(), m.weight[r] = 0;
  for (int64_t j = first_square(a, row, block); j <= block; j++) {
    learn_product<PAIRS>(m.q, words, m.k_columns + j * words * kSquare, kSquare, m.score, false);
    for (int64_t r = 0; r < kSquare; r++) {
      Seen seen = seen_of(a, row, start + r, j);
      float shrink = learn_soften(m.score + r * kSquare, seen, a.scale, m.most + r, m.weight + r);
      if (shrink != 1.0f)
        for (int64_t e = 0; e < E; e += kLanes)
          store(m.sum + r * E + e, mul(load(m.sum + r * E + e), set1(shrink)));
    }
    learn_words<PAIRS>(m.score, kSquare * kSquare, m.left);
    learn_product<PAIRS>(m.left, square, m.v_lines + j * square * E, E, m.sum, true);
  }
  for (int64_t r = 0; r < count; r++) {
    int64_t at = ((row * a.length + start + r) * a.heads + head) * E;
    for (int64_t e = 0; e < E; e += kLanes) store_as(a.out, a.type, at + e, div(load(m.sum + r * E + e), set1(m.weight[r])));
    a.lse[(row * a.heads + head) * a.length + start + r] = m.most[r] + logf(m.weight[r]);
  }
}

template <bool PAIRS>
static void learn_backward(const LearntAttention& a, const LearnMemory& m, int64_t row, int64_t head, int64_t block) {
  int64_t E = a.head_dim, words = PAIRS ? E / 2 : E, square = PAIRS ? kSquare / 2 : kSquare, start = block * kSquare;
  int64_t count = a.length - start < kSquare ? a.length - start : kSquare;
  const void* g = number_at(a, a.d_out, row * a.g_row + head * a.g_head + start * a.g_token);
  learn_rows<PAIRS>(a, number_at(a, a.q, row * a.q_row + head * a.q_head + start * a.q_token), a.q_token, count, m.q);
  learn_rows<PAIRS>(a, g, a.g_token, count, m.g);
  learn_lines<PAIRS>(m.q, E, m.q_lines);
  learn_lines<PAIRS>(m.g, E, m.g_lines);
  const float* lse = a.lse + (row * a.heads + head) * a.length + start;
  for (int64_t r = 0; r < count; r++) {  // what a query's weights have in common as slopes: d_out . out
    int64_t at = ((row * a.length + start + r) * a.heads + head) * E;
    F sum = zero();
    for (int64_t e = 0; e < E; e += kLanes)
      sum = fma(load_as(g, a.type, r * a.g_token + e), load_as(a.out, a.type, at + e), sum);
    m.delta[r] = sum_lanes(sum);
  }
  memset(m.sum, 0, (size_t)(kSquare * E) * 4);
  for (int64_t j = first_square(a, row, block); j <= block; j++) {
    learn_product<PAIRS>(m.q, words, m.k_columns + j * words * kSquare, kSquare, m.score, false);
    learn_product<PAIRS>(m.g, words, m.v_columns + j * words * kSquare, kSquare, m.slope, false);
    for (int64_t r = 0; r < kSquare; r++) {
      float *score = m.score + r * kSquare, *slope = m.slope + r * kSquare;
      Seen seen = seen_of(a, row, start + r, j);
      if (seen.low >= seen.high) {
        memset(score, 0, kSquare * 4), memset(slope, 0, kSquare * 4);
        continue;
      }
      for (int64_t c = 0; c < kSquare; c += kLanes) {
        F weight = exp(sub(mul(load(score + c), set1(a.scale)), set1(lse[r])));
        store(score + c, weight);
        store(slope + c, mul(mul(weight, sub(load(slope + c), set1(m.delta[r]))), set1(a.scale)));
      }
      hide(score, seen, 0.0f), hide(slope, seen, 0.0f);
    }
    learn_words<PAIRS>(m.slope, kSquare * kSquare, m.left);
    learn_product<PAIRS>(m.left, square, m.k_lines + j * square * E, E, m.sum, true);
    float* turned = (float*)m.left;  // free again: the square by keys, then as words
    learn_turn(m.score, turned);
    learn_words<PAIRS>(turned, kSquare * kSquare, m.turned);
    learn_product<PAIRS>(m.turned, square, m.g_lines, E, m.d_v + j * kSquare * E, true);
    learn_turn(m.slope, turned);
    learn_words<PAIRS>(turned, kSquare * kSquare, m.turned);
    learn_product<PAIRS>(m.turned, square, m.q_lines, E, m.d_k + j * kSquare * E, true);
  }
  for (int64_t r = 0; r < count; r++) {
    int64_t at = ((row * a.length + start + r) * a.heads + head) * E;
    for (int64_t e = 0; e < E; e += kLanes) store_as(a.d_q, a.type, at + e, load(m.sum + r * E + e));
  }
}

template <bool PAIRS>
static void learn_head(const LearntAttention& a, const LearnMemory& m, int64_t row, int64_t kv_head) {
  int64_t E = a.head_dim, words = PAIRS ? E / 2 : E, square = PAIRS ? kSquare / 2 : kSquare, blocks = squares_of(a);
  bool back = a.d_out != nullptr;
  for (int64_t j = 0; j < blocks; j++) {
    int64_t start = j * kSquare, count = a.length - start < kSquare ? a.length - start : kSquare;
    learn_rows<PAIRS>(a, number_at(a, a.k, row * a.k_row + kv_head * a.k_head + start * a.k_token), a.k_token, count, m.q);
    learn_rows<PAIRS>(a, number_at(a, a.v, row * a.v_row + kv_head * a.v_head + start * a.v_token), a.v_token, count, m.g);
    learn_columns(m.q, words, m.k_columns + j * words * kSquare);
    if (!back) learn_lines<PAIRS>(m.g, E, m.v_lines + j * square * E);
    else learn_columns(m.g, words, m.v_columns + j * words * kSquare), learn_lines<PAIRS>(m.q, E, m.k_lines + j * square * E);
  }
  if (back) memset(m.d_k, 0, (size_t)(blocks * kSquare * E) * 4), memset(m.d_v, 0, (size_t)(blocks * kSquare * E) * 4);
  int64_t group = a.heads / a.kv_heads;
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++)
    for (int64_t block = 0; block < blocks; block++)
      back ? learn_backward<PAIRS>(a, m, row, head, block) : learn_forward<PAIRS>(a, m, row, head, block);
  if (!back) return;
  for (int64_t t = 0; t < a.length; t++)
    for (int64_t e = 0; e < E; e += kLanes) {
      int64_t at = ((row * a.length + t) * a.kv_heads + kv_head) * E + e;
      store_as(a.d_k, a.type, at, load(m.d_k + t * E + e));
      store_as(a.d_v, a.type, at, load(m.d_v + t * E + e));
    }
}

static void learn_attention(Worker& worker, const LearntAttention& a, char* memory) {
  LearnMemory m = learn_memory(a, memory, nullptr);
  for (int64_t task; (task = claim(worker, 1)) < (int64_t)a.rows * a.kv_heads;) {
    if constexpr (kBf16Dot)
      if (in_pairs(a)) {
        learn_head<true>(a, m, task / a.kv_heads, task % a.kv_heads);
        continue;
      }
    learn_head<false>(a, m, task / a.kv_heads, task % a.kv_heads);
  }
}

}  // namespace
