// Attention of training, shared out.
//
// A task is a row of text and one key/value head with the query heads that share it; its keys and values are laid out
// once. A worker has a task of its own, or, where there are fewer than workers, all share one: then, backwards, queries
// and keys learn apart (arXiv:2307.08691), with seven products for a pair of squares in the place of five. Sums are in
// one order either way: no result depends on threads.
#pragma once
#include "attention_learn.h"

namespace {

// A task, by the worker whose queries these are.
template <bool PAIRS>
struct LearnTask {
  const LearntAttention& a;
  LearnKeys keys;
  LearnQueries m;
  int64_t row, kv_head;

  int64_t group() const { return a.heads / a.kv_heads; }
  int64_t head(int64_t number) const { return kv_head * group() + number; }

  void lay_out(int64_t j) const {
    int64_t E = a.key_dim, X = a.value_dim, k_words = E / (PAIRS ? 2 : 1), v_words = X / (PAIRS ? 2 : 1);
    int64_t square = PAIRS ? kSquare / 2 : kSquare, start = j * kSquare, count = in_square(a, j);
    const void* k = number_at(a, a.k, row * a.k_row + kv_head * a.k_head + start * a.k_token);
    const void* v = number_at(a, a.v, row * a.v_row + kv_head * a.v_head + start * a.v_token);
    learn_rows<PAIRS>(k, a.type, a.k_token, count, E, m.q);
    learn_rows<PAIRS>(v, a.type, a.v_token, count, X, m.g);
    learn_columns(m.q, k_words, keys.k_columns + j * k_words * kSquare);
    if (!a.d_out) return learn_lines<PAIRS>(m.g, X, keys.v_lines + j * square * X);
    learn_columns(m.g, v_words, keys.v_columns + j * v_words * kSquare);
    learn_lines<PAIRS>(m.q, E, keys.k_lines + j * square * E);
    memset(keys.d_k + start * E, 0, (size_t)(kSquare * E) * 4), memset(keys.d_v + start * X, 0, (size_t)(kSquare * X) * 4);
  }

  void keep(int64_t j) const {
    int64_t E = a.key_dim, X = a.value_dim;
    for (int64_t t = j * kSquare, end = t + in_square(a, j); t < end; t++) {
      int64_t at = (row * a.length + t) * a.kv_heads + kv_head;
      for (int64_t e = 0; e < E; e += kLanes) store_as(a.d_k, a.type, at * E + e, load(keys.d_k + t * E + e));
      for (int64_t e = 0; e < X; e += kLanes) store_as(a.d_v, a.type, at * X + e, load(keys.d_v + t * X + e));
    }
  }

  void alone() const {
    int64_t blocks = squares_of(a);
    for (int64_t j = 0; j < blocks; j++) lay_out(j);
    for (int64_t number = 0; number < group(); number++)
      for (int64_t block = 0; block < blocks; block++)
        if (!a.d_out) learn_forward<PAIRS>(a, keys, m, row, head(number), block);
        else learn_backward<PAIRS>(a, keys, m, row, head(number), block, first_square(a, row, block), block, true, true);
    for (int64_t j = 0; a.d_out && j < blocks; j++) keep(j);
  }

  // What a square of keys learns of all queries that see some of it, in the order that they have alone.
  void square_learns(int64_t j) const {
    for (int64_t number = 0; number < group(); number++)
      for (int64_t block = j; block < squares_of(a) && first_square(a, row, block) <= j; block++)
        learn_backward<PAIRS>(a, keys, m, row, head(number), block, j, j, false, true);
    keep(j);
  }

  void queries_learn(int64_t number, int64_t block) const {
    if (!a.d_out) learn_forward<PAIRS>(a, keys, m, row, head(number), block);
    else learn_backward<PAIRS>(a, keys, m, row, head(number), block, first_square(a, row, block), block, true, false);
  }

  // With all other workers; what takes longest comes first.
  void together(Worker& worker) const {
    int64_t blocks = squares_of(a), squares = a.d_out ? blocks : 0;
    for (int64_t j; (j = claim(worker, 1)) < blocks;) lay_out(j);
    barrier(worker);
    for (int64_t part; (part = claim(worker, 1)) < squares + group() * blocks;) {
      if (part < squares) square_learns(part);
      else queries_learn((part - squares) % group(), blocks - 1 - (part - squares) / group());
    }
    barrier(worker);
  }
};

// Whether all workers on one task after the other are sooner done than each on one of its own.
LK bool learn_together(const LearntAttention& a, int64_t workers) {
  int64_t tasks = (int64_t)a.rows * a.kv_heads, parts = squares_of(a) * (a.d_out ? 1 : a.heads / a.kv_heads);
  int64_t busy = (parts + 1) / 2 < workers ? (parts + 1) / 2 : workers;  // parts are uneven
  int64_t rounds = (tasks + workers - 1) / workers;
  return tasks * (a.d_out ? 7 : 5) < rounds * busy * 5;  // products
}

template <bool PAIRS>
static void learn_tasks(Worker& worker, const LearntAttention& a, char* shared) {
  char* own = worker.own;
  LearnQueries queries = learn_queries(a, own);
  int64_t tasks = (int64_t)a.rows * a.kv_heads;
  if (learn_together(a, worker.size)) {
    LearnKeys keys = learn_keys(a, shared);
    for (int64_t task = 0; task < tasks; task++)
      LearnTask<PAIRS>{a, keys, queries, task / a.kv_heads, task % a.kv_heads}.together(worker);
    return;
  }
  LearnKeys keys = learn_keys(a, own);
  for (int64_t task; (task = claim(worker, 1)) < tasks;)
    LearnTask<PAIRS>{a, keys, queries, task / a.kv_heads, task % a.kv_heads}.alone();
}

static void learn_attention(Worker& worker, const LearntAttention& a, char* shared) {
  if constexpr (kBf16Dot)
    if (in_pairs(a)) return learn_tasks<true>(worker, a, shared);
  learn_tasks<false>(worker, a, shared);
}

}  // namespace
