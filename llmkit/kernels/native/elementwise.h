// RMSNorm, rotary positions and gated activations, on rows of float32.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {


// out = x / sqrt(mean(x^2) + epsilon) * (offset + weight). Zhang and Sennrich 2019, arXiv:1910.07467.
static void rms_norm(Worker& worker, const RmsNorm& a) {
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) {
    const float* x = a.x + row * a.x_stride;
    float* out = a.out + row * a.out_stride;
    F squares = zero();
    for (int64_t c = 0; c < a.cols; c += kLanes) {
      F v = load_first(x + c, a.cols - c);
      squares = fma(v, v, squares);
    }
    F factor = set1(1.0f / __builtin_sqrtf(sum_lanes(squares) / (float)a.cols + a.epsilon));
    for (int64_t c = 0; c < a.cols; c += kLanes) {
      F v = mul(load_first(x + c, a.cols - c), factor);
      if (a.weight) v = mul(v, add(set1(a.offset), load_first(a.weight + c, a.cols - c)));
      store_first(out + c, v, a.cols - c);
    }
  }
}


// Turns pairs (x[i], x[i + rotary_dim / 2]) of the first rotary_dim values of each head. arXiv:2104.09864.
static void rotary(Worker& worker, const Rotary& a) {
  int64_t half = a.rotary_dim / 2;
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) {
    const float* cosine = a.cosine + a.positions[row] * half;
    const float* sine = a.sine + a.positions[row] * half;
    for (int32_t head = 0; head < a.heads; head++) {
      float* x = a.x + row * a.x_stride + (int64_t)head * a.head_dim;
      for (int64_t i = 0; i < half; i += kLanes) {
        F first = load_first(x + i, half - i), second = load_first(x + half + i, half - i);
        F c = load_first(cosine + i, half - i), s = load_first(sine + i, half - i);
        store_first(x + i, sub(mul(first, c), mul(second, s)), half - i);
        store_first(x + half + i, add(mul(second, c), mul(first, s)), half - i);
      }
    }
  }
}

// 1 - erf(x) for x >= 0 within 1.5e-7. Abramowitz and Stegun, 7.1.26.
LK F one_minus_erf(F x) {
  F t = div(set1(1.0f), fma(x, set1(0.3275911f), set1(1.0f)));
  F p = fma(t, set1(1.061405429f), set1(-1.453152027f));
  p = fma(p, t, set1(1.421413741f));
  p = fma(p, t, set1(-0.284496736f));
  p = fma(p, t, set1(0.254829592f));
  return mul(mul(p, t), exp(sub(zero(), mul(x, x))));
}

// e^x - 1 - x for x <= 0; near 0 by its series, where the difference would leave few digits.
LK F expm1_less(F x) {
  F p = fma(x, set1(1.0f / 40320), set1(1.0f / 5040));
  p = fma(p, x, set1(1.0f / 720));
  p = fma(p, x, set1(1.0f / 120));
  p = fma(p, x, set1(1.0f / 24));
  p = fma(p, x, set1(1.0f / 6));
  p = fma(p, x, set1(0.5f));
  return pick(x, set1(-0.5f), mul(mul(p, x), x), sub(sub(exp(x), set1(1.0f)), x));
}

// a x^2 + c x above 0, b (e^min(x, end) - 1 - x) + c x below. Huang and Schlag 2024, arXiv:2411.13010.
LK F xielu(F x, const float* curve) {
  F line = mul(set1(curve[2]), x), end = min(set1(curve[3]), x);
  F below = add(expm1_less(end), sub(end, x));
  return pick(x, zero(), fma(mul(set1(curve[0]), x), x, line), fma(set1(curve[1]), below, line));
}

LK float softplus(float x) { return x > 20.0f ? x : __builtin_log1pf(__builtin_expf(x)); }

LK F activated(F x, int32_t activation) {
  F positive = max(zero(), x);
  switch (activation) {
    case kGeluTanh:  // 0.5 (1 + tanh u) is sigmoid(2u)
      return mul(x, sigmoid(mul(mul(x, set1(1.5957691216057308f)), fma(mul(x, x), set1(0.044715f), set1(1.0f)))));
    case kGelu:
      return sub(positive, mul(mul(set1(0.5f), abs(x)), one_minus_erf(mul(abs(x), set1(0.70710678118654752f)))));
    case kRelu:
      return positive;
    case kReluSquared:
      return mul(positive, positive);
    case kClampedSwiglu:
      return mul(x, sigmoid(mul(x, set1(1.702f))));
    case kLogistic:
      return sigmoid(x);
    default:
      return mul(x, sigmoid(x));
  }
}

// out = activation(gate) * up: SwiGLU or GeGLU (arXiv:2002.05202), or gpt-oss's; activation(gate) without up. With a
// curve its activation is xIELU.
static void gated(Worker& worker, const Gated& a) {
  constexpr int64_t kPiece = 1024;
  int64_t pieces = (a.cols + kPiece - 1) / kPiece;
  bool clamped = a.activation == kClampedSwiglu;
  F limit = set1(a.limit);
  for (int64_t task; (task = claim(worker, 1)) < a.rows * pieces;) {
    int64_t row = task / pieces, from = task % pieces * kPiece, to = from + kPiece < a.cols ? from + kPiece : a.cols;
    for (int64_t c = from; c < to; c += kLanes) {
      F x = load_first(a.gate + row * a.gate_stride + c, to - c);
      F value = a.curve ? xielu(x, a.curve) : activated(clamped ? min(limit, x) : x, a.activation);
      if (a.up) {
        F up = load_first(a.up + row * a.up_stride + c, to - c);
        if (clamped) up = add(max(sub(zero(), limit), min(limit, up)), set1(1.0f));
        value = mul(value, up);
      }
      store_first(a.out + row * a.out_stride + c, value, to - c);
    }
  }
}

}  // namespace
