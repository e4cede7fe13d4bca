// The gated delta rule, position by position: what the twin solves for in chunks is here one pass over registers, as
// each 16 columns of a matrix go their own way and stay in the first-level cache. arXiv:2412.06464.
#pragma once
#include "convolve.h"

namespace {

LK int64_t delta_width(const DeltaRule& a) {
  return 2 * (int64_t)a.key_heads * a.key_dim + (int64_t)a.value_heads * a.value_dim;
}

// x becomes of this length.
LK void scale_to(float* x, int64_t size, float length) {
  constexpr float kEpsilon = 1e-6f;  // added to the squared length
  F squares = zero();
  for (int64_t i = 0; i < size; i += kLanes) {
    F v = load_first(x + i, size - i);
    squares = fma(v, v, squares);
  }
  F factor = set1(length / __builtin_sqrtf(sum_lanes(squares) + kEpsilon));
  for (int64_t i = 0; i < size; i += kLanes) store_first(x + i, mul(load_first(x + i, size - i), factor), size - i);
}

// Queries and keys of each row, its rates and its decays, ready for the rule.
static void delta_ready(Worker& worker, const DeltaRule& a) {
  float query_length = 1.0f / __builtin_sqrtf((float)a.key_dim);
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) {
    float *qk = a.qkv + row * delta_width(a), *rates = a.rates + row * 2 * a.value_heads, *decays = rates + a.value_heads;
    for (int32_t head = 0; head < 2 * a.key_heads; head++)
      scale_to(qk + (int64_t)head * a.key_dim, a.key_dim, head < a.key_heads ? query_length : 1.0f);
    for (int32_t head = 0; head < a.value_heads; head++) {
      decays[head] = __builtin_expf(a.slopes[head] * softplus(decays[head] + a.steps[head]));
      rates[head] = 1.0f / (1.0f + __builtin_expf(-rates[head]));
    }
  }
}

// 16 columns of a matrix, (size, 16), over one position: S <- decay S, u = rate (v - S' k), S <- S + k u'; S' q.
LK F delta_step(float* state, const float* q, const float* k, F v, float decay, float rate, int64_t size) {
  constexpr int kSums = 4;  // more than one: an addition waits for the one before it
  F kept = set1(decay), found[kSums], read[kSums];
  LK_UNROLL for (int i = 0; i < kSums; i++) found[i] = read[i] = zero();
  int64_t whole = size / kSums * kSums;
  for (int64_t x = 0; x < whole; x += kSums)
    LK_UNROLL for (int i = 0; i < kSums; i++)
      found[i] = fma(load(state + (x + i) * kLanes), set1(k[x + i]), found[i]);
  for (int64_t x = whole; x < size; x++) found[0] = fma(load(state + x * kLanes), set1(k[x]), found[0]);
  F under_key = mul(kept, add(add(found[0], found[1]), add(found[2], found[3])));
  F u = mul(set1(rate), sub(v, under_key));
  auto change = [&](int64_t x, F& sum) LK_LAMBDA {
    F changed = fma(set1(k[x]), u, mul(kept, load(state + x * kLanes)));
    store(state + x * kLanes, changed);
    sum = fma(changed, set1(q[x]), sum);
  };
  for (int64_t x = 0; x < whole; x += kSums)
    LK_UNROLL for (int i = 0; i < kSums; i++) change(x + i, read[i]);
  for (int64_t x = whole; x < size; x++) change(x, read[0]);
  return add(add(read[0], read[1]), add(read[2], read[3]));
}

// A task is a head of a text.
static void delta_rule(Worker& worker, const DeltaRule& a) {
  int64_t blocks = (a.value_dim + kLanes - 1) / kLanes, X = a.key_dim, Y = a.value_dim, width = delta_width(a);
  for (int64_t task; (task = claim(worker, 1)) < (int64_t)a.texts.count * a.value_heads;) {
    int64_t text = task / a.value_heads, head = task % a.value_heads;
    const float* q = a.qkv + head / (a.value_heads / a.key_heads) * X;
    const float *k = q + a.key_heads * X, *v = a.qkv + 2 * a.key_heads * X + head * Y;
    float* state = state_of(a.texts, text);
    int64_t place = head * blocks * X * kLanes;
    for (int64_t from = 0; from < Y; from += kLanes, place += X * kLanes)
      for (int64_t row = a.texts.query_start[text]; row < a.texts.query_start[text + 1]; row++) {
        const float *rates = a.rates + row * 2 * a.value_heads + head, *at = v + row * width + from;
        F read = delta_step(state + place, q + row * width, k + row * width, load_first(at, Y - from), rates[a.value_heads],
                            rates[0], X);
        store_first(a.out + (row * a.value_heads + head) * Y + from, read, Y - from);
        copy_part(a.texts, row, state, place, X * kLanes);
      }
  }
}

}  // namespace
