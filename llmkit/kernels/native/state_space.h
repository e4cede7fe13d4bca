// Mamba-2's state space, position by position: as in delta_rule.h each 16 columns of a matrix go their own way, and stay
// in the first-level cache. arXiv:2405.21060.
#pragma once
#include "convolve.h"

namespace {

// Steps and decays of each row. Nothing is claimed: it may run between the same barriers as a kernel that claims.
static void space_ready(Worker& worker, const StateSpace& a) {
  for (int64_t i = worker.index; i < a.rows * a.heads; i += worker.size) {
    int64_t row = i / a.heads, head = i % a.heads;
    float step = softplus(a.dt[row * a.dt_stride + head] + a.steps[head]);
    step = step < a.least_step ? a.least_step : step > a.most_step ? a.most_step : step;
    float* rates = a.rates + row * 2 * a.heads + head;
    rates[0] = step, rates[a.heads] = __builtin_expf(a.slopes[head] * step);
  }
}

// BLOCKS times 16 columns of a matrix, (size, 16) each, over one position: S <- decay S + k x'; S' q. A key is loaded once
// for all blocks. Which of them go together changes no bits.
template <int BLOCKS>
LK void space_step(float* state, const float* q, const float* k, const F* x, float decay, int64_t size, F* read) {
  constexpr int kSums = 2;  // more than one: an addition waits for the one before it
  F kept = set1(decay), sums[kSums][BLOCKS];
  LK_UNROLL for (int i = 0; i < kSums; i++)
    LK_UNROLL for (int b = 0; b < BLOCKS; b++) sums[i][b] = zero();
  auto change = [&](int64_t at, F* into) LK_LAMBDA {
    F key = set1(k[at]), query = set1(q[at]);
    LK_UNROLL for (int b = 0; b < BLOCKS; b++) {
      float* place = state + (b * size + at) * kLanes;
      F changed = fma(key, x[b], mul(kept, load(place)));
      store(place, changed);
      into[b] = fma(changed, query, into[b]);
    }
  };
  int64_t whole = size / kSums * kSums;
  for (int64_t at = 0; at < whole; at += kSums)
    LK_UNROLL for (int i = 0; i < kSums; i++) change(at + i, sums[i]);
  if (whole < size) change(whole, sums[0]);
  LK_UNROLL for (int b = 0; b < BLOCKS; b++) read[b] = add(sums[0][b], sums[1][b]);
}

// BLOCKS blocks of a head's columns, from `from` on and at `place` of the state, over all new positions of a text.
template <int BLOCKS>
LK void space_columns(const StateSpace& a, int64_t text, int64_t head, int64_t from, int64_t place) {
  float* state = state_of(a.texts, text);
  int64_t X = a.key_dim, Y = a.value_dim, W = a.heads, keys = (int64_t)a.groups * X, width = W * Y + 2 * keys;
  for (int64_t row = a.texts.query_start[text]; row < a.texts.query_start[text + 1]; row++) {
    const float *values = a.xkq + row * width + head * Y, *rates = a.rates + row * 2 * W + head;
    const float* k = a.xkq + row * width + W * Y + head / (W / a.groups) * X;
    float* out = a.out + (row * W + head) * Y;
    F x[BLOCKS], added[BLOCKS], read[BLOCKS];
    LK_UNROLL for (int b = 0; b < BLOCKS; b++) {
      x[b] = load_first(values + from + b * kLanes, Y - from - b * kLanes);
      added[b] = mul(set1(rates[0]), x[b]);
    }
    space_step<BLOCKS>(state + place, k + keys, k, added, rates[W], X, read);
    LK_UNROLL for (int b = 0; b < BLOCKS; b++)
      store_first(out + from + b * kLanes, fma(set1(a.skips[head]), x[b], read[b]), Y - from - b * kLanes);
    copy_part(a.texts, row, state, place, BLOCKS * X * kLanes);
  }
}

// A task is a head of a text.
static void state_space(Worker& worker, const StateSpace& a) {
  int64_t block = (int64_t)a.key_dim * kLanes, Y = a.value_dim, blocks = (Y + kLanes - 1) / kLanes;
  for (int64_t task; (task = claim(worker, 1)) < (int64_t)a.texts.count * a.heads;) {
    int64_t text = task / a.heads, head = task % a.heads, from = 0, place = head * blocks * block;
    for (; from + kLanes < Y; from += 2 * kLanes, place += 2 * block) space_columns<2>(a, text, head, from, place);
    if (from < Y) space_columns<1>(a, text, head, from, place);
  }
}

// A task is a group of a row.
static void gated_norm(Worker& worker, const GatedNorm& a) {
  int64_t size = a.width / a.groups;
  for (int64_t task; (task = claim(worker, 1)) < a.rows * a.groups;) {
    int64_t row = task / a.groups, from = task % a.groups * size;
    float* x = a.x + row * a.width + from;
    const float *gate = a.gate + row * a.gate_stride + from, *weight = a.weight + from;
    F squares = zero();
    for (int64_t c = 0; c < size; c += kLanes) {
      F v = mul(load_first(x + c, size - c), activated(load_first(gate + c, size - c), kSilu));
      store_first(x + c, v, size - c);
      squares = fma(v, v, squares);
    }
    F factor = set1(1.0f / __builtin_sqrtf(sum_lanes(squares) / (float)size + a.epsilon));
    for (int64_t c = 0; c < size; c += kLanes)
      store_first(x + c, mul(mul(load_first(x + c, size - c), factor), load_first(weight + c, size - c)), size - c);
  }
}

}  // namespace
