// Attention of training, forwards and backwards, without ever holding all scores (arXiv:2205.14135): 64 queries meet 64
// keys at a time. attention_tasks.h says which, and by whom.
#pragma once
#include <math.h>

#include "kernels.h"
#include "lanes.h"
#include "learn.h"
#include "learn_squares.h"

namespace {

LK bool in_pairs(const LearntAttention& a) { return kBf16Dot && a.type == kBfloat16; }
LK int64_t squares_of(const LearntAttention& a) { return (a.length + kSquare - 1) / kSquare; }
LK int64_t in_square(const LearntAttention& a, int64_t square) {
  int64_t left = a.length - square * kSquare;
  return left < kSquare ? left : kSquare;
}

// Of a task, square after square. E numbers of a key, X of a value; in words but for what is learnt.
struct LearnKeys {
  uint32_t *k_columns, *v_columns;  // [word of E or X][64]: right sides of scores
  uint32_t *k_lines, *v_lines;      // [word of 64][E or X]: right sides of sums over keys
  float *d_k, *d_v;                 // (T, E), (T, X)
};

// Of a worker: 64 queries, and what they are to 64 keys.
struct LearnQueries {
  uint32_t *q, *g;              // rows
  uint32_t *q_lines, *g_lines;  // [word of 64][E or X]
  float *sum, *score, *slope;   // (64, E or X), (64, 64), (64, 64)
  uint32_t *left, *turned;      // rows of weights, by query and by key
  float *most, *weight, *delta;
};

LK uint32_t* learn_take(char*& at, int64_t words) {
  char* here = at;
  at += (size_t)((words + 15) / 16 * 16) * 4;
  return (uint32_t*)here;
}

LK LearnKeys learn_keys(const LearntAttention& a, char*& at) {
  int64_t pad = squares_of(a) * kSquare, W = in_pairs(a) ? 2 : 1;  // numbers of a word
  int64_t E = pad * a.key_dim, X = pad * a.value_dim, back = a.d_out != nullptr;
  LearnKeys m;
  m.k_columns = learn_take(at, E / W), m.v_lines = learn_take(at, back ? 0 : X / W);
  m.v_columns = learn_take(at, back * X / W), m.k_lines = learn_take(at, back * E / W);
  m.d_k = (float*)learn_take(at, back * E), m.d_v = (float*)learn_take(at, back * X);
  return m;
}

LK LearnQueries learn_queries(const LearntAttention& a, char*& at) {
  int64_t W = in_pairs(a) ? 2 : 1, E = kSquare * a.key_dim, X = kSquare * a.value_dim;
  LearnQueries m;
  m.q = learn_take(at, E / W), m.g = learn_take(at, X / W);
  m.q_lines = learn_take(at, E / W), m.g_lines = learn_take(at, X / W);
  m.sum = (float*)learn_take(at, E > X ? E : X);
  m.score = (float*)learn_take(at, kSquare * kSquare), m.slope = (float*)learn_take(at, kSquare * kSquare);
  m.left = learn_take(at, kSquare * kSquare), m.turned = learn_take(at, kSquare * kSquare / W);
  m.most = (float*)learn_take(at, kSquare), m.weight = (float*)learn_take(at, kSquare);
  m.delta = (float*)learn_take(at, kSquare);
  return m;
}

// Room for a task of all, and for a worker's queries and its own task.
static Scratch learn_scratch(const LearntAttention& a) {
  char *keys = nullptr, *queries = nullptr;
  learn_keys(a, keys), learn_queries(a, queries);
  return Scratch{(size_t)keys, (size_t)keys + (size_t)queries};
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


// A line of scores as the softmax takes them: scaled, and capped where the model caps them.
LK F learn_scores(const LearntAttention& a, const float* products) {
  F score = mul(load(products), set1(a.scale));
  return a.softcap > 0 ? mul(set1(a.softcap), tanh(div(score, set1(a.softcap)))) : score;
}

// Products of a query and keys become weights of an online softmax; returns by how much its earlier sums shrink.
LK float learn_soften(const LearntAttention& a, float* scores, Seen seen, float* most, float* weight) {
  if (seen.low >= seen.high) {
    memset(scores, 0, kSquare * 4);
    return 1.0f;
  }
  constexpr int kLines = kSquare / kLanes;
  F s[kLines];
  LK_UNROLL for (int i = 0; i < kLines; i++) store(scores + i * kLanes, learn_scores(a, scores + i * kLanes));
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
static void learn_read_queries(const LearntAttention& a, const LearnQueries& m, int64_t row, int64_t head, int64_t block) {
  const void* q = number_at(a, a.q, row * a.q_row + head * a.q_head + block * kSquare * a.q_token);
  learn_rows<PAIRS>(q, a.type, a.q_token, in_square(a, block), a.key_dim, m.q);
}

template <bool PAIRS>
static void learn_forward(const LearntAttention& a, const LearnKeys& keys, const LearnQueries& m, int64_t row,
                          int64_t head, int64_t block) {
  int64_t E = a.key_dim, X = a.value_dim, words = PAIRS ? E / 2 : E, square = PAIRS ? kSquare / 2 : kSquare;
  int64_t start = block * kSquare, count = in_square(a, block);
  learn_read_queries<PAIRS>(a, m, row, head, block);
  memset(m.sum, 0, (size_t)(kSquare * X) * 4);
  for (int64_t r = 0; r < kSquare; r++)
    m.most[r] = a.sinks ? a.sinks[head] : -__builtin_inff(), m.weight[r] = a.sinks ? 1 : 0;
  for (int64_t j = first_square(a, row, block); j <= block; j++) {
    learn_product<PAIRS>(m.q, words, keys.k_columns + j * words * kSquare, kSquare, m.score, false);
    for (int64_t r = 0; r < kSquare; r++) {
      Seen seen = seen_of(a, row, start + r, j);
      float shrink = learn_soften(a, m.score + r * kSquare, seen, m.most + r, m.weight + r);
      if (shrink != 1.0f)
        for (int64_t e = 0; e < X; e += kLanes)
          store(m.sum + r * X + e, mul(load(m.sum + r * X + e), set1(shrink)));
    }
    learn_words<PAIRS>(m.score, kSquare * kSquare, m.left);
    learn_product<PAIRS>(m.left, square, keys.v_lines + j * square * X, X, m.sum, true);
  }
  for (int64_t r = 0; r < count; r++) {
    int64_t at = ((row * a.length + start + r) * a.heads + head) * X;
    for (int64_t e = 0; e < X; e += kLanes) store_as(a.out, a.type, at + e, div(load(m.sum + r * X + e), set1(m.weight[r])));
    a.lse[(row * a.heads + head) * a.length + start + r] = m.most[r] + logf(m.weight[r]);
  }
}

// Of 64 queries and 64 keys: weights in m.score, and the slopes of their products in m.slope.
template <bool PAIRS>
static void learn_slopes(const LearntAttention& a, const LearnKeys& keys, const LearnQueries& m, int64_t row,
                         int64_t head, int64_t block, int64_t j) {
  int64_t k_words = a.key_dim / (PAIRS ? 2 : 1), v_words = a.value_dim / (PAIRS ? 2 : 1);
  learn_product<PAIRS>(m.q, k_words, keys.k_columns + j * k_words * kSquare, kSquare, m.score, false);
  learn_product<PAIRS>(m.g, v_words, keys.v_columns + j * v_words * kSquare, kSquare, m.slope, false);
  const float* lse = a.lse + (row * a.heads + head) * a.length + block * kSquare;
  for (int64_t r = 0; r < kSquare; r++) {
    float *score = m.score + r * kSquare, *slope = m.slope + r * kSquare;
    Seen seen = seen_of(a, row, block * kSquare + r, j);
    if (seen.low >= seen.high) {
      memset(score, 0, kSquare * 4), memset(slope, 0, kSquare * 4);
      continue;
    }
    for (int64_t c = 0; c < kSquare; c += kLanes) {
      F s = learn_scores(a, score + c), weight = exp(sub(s, set1(lse[r]))), steep = set1(a.scale);
      if (a.softcap > 0) {  // tanh' = 1 - tanh^2
        F t = div(s, set1(a.softcap));
        steep = mul(steep, sub(set1(1.0f), mul(t, t)));
      }
      store(score + c, weight);
      store(slope + c, mul(mul(weight, sub(load(slope + c), set1(m.delta[r]))), steep));
    }
    hide(score, seen, 0.0f), hide(slope, seen, 0.0f);
  }
}

// What 64 queries learn, or what the keys of squares `from` to `to` learn of them, or both.
template <bool PAIRS>
static void learn_backward(const LearntAttention& a, const LearnKeys& keys, const LearnQueries& m, int64_t row,
                           int64_t head, int64_t block, int64_t from, int64_t to, bool queries_learn, bool keys_learn) {
  int64_t E = a.key_dim, X = a.value_dim, square = PAIRS ? kSquare / 2 : kSquare;
  int64_t start = block * kSquare, count = in_square(a, block);
  const void* g = number_at(a, a.d_out, row * a.g_row + head * a.g_head + start * a.g_token);
  learn_read_queries<PAIRS>(a, m, row, head, block);
  learn_rows<PAIRS>(g, a.type, a.g_token, count, X, m.g);
  if (keys_learn) learn_lines<PAIRS>(m.q, E, m.q_lines), learn_lines<PAIRS>(m.g, X, m.g_lines);
  for (int64_t r = 0; r < count; r++) {  // what a query's weights have in common as slopes: d_out . out
    int64_t at = ((row * a.length + start + r) * a.heads + head) * X;
    F sum = zero();
    for (int64_t e = 0; e < X; e += kLanes)
      sum = fma(load_as(g, a.type, r * a.g_token + e), load_as(a.out, a.type, at + e), sum);
    m.delta[r] = sum_lanes(sum);
  }
  if (queries_learn) memset(m.sum, 0, (size_t)(kSquare * E) * 4);
  for (int64_t j = from; j <= to; j++) {
    learn_slopes<PAIRS>(a, keys, m, row, head, block, j);
    if (queries_learn) {
      learn_words<PAIRS>(m.slope, kSquare * kSquare, m.left);
      learn_product<PAIRS>(m.left, square, keys.k_lines + j * square * E, E, m.sum, true);
    }
    if (!keys_learn) continue;
    float* turned = (float*)m.left;  // free again: the square by keys, then as words
    learn_turn(m.score, turned);
    learn_words<PAIRS>(turned, kSquare * kSquare, m.turned);
    learn_product<PAIRS>(m.turned, square, m.g_lines, X, keys.d_v + j * kSquare * X, true);
    learn_turn(m.slope, turned);
    learn_words<PAIRS>(turned, kSquare * kSquare, m.turned);
    learn_product<PAIRS>(m.turned, square, m.q_lines, E, keys.d_k + j * kSquare * E, true);
  }
  if (!queries_learn) return;
  for (int64_t r = 0; r < count; r++) {
    int64_t at = ((row * a.length + start + r) * a.heads + head) * E;
    for (int64_t e = 0; e < E; e += kLanes) store_as(a.d_q, a.type, at + e, load(m.sum + r * E + e));
  }
}

}  // namespace
