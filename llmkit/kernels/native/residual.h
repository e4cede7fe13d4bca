// What a residual stream needs beside products: LayerNorm, branches joined to it, and the scores' last scale and cap.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

// out = (x - mean) / sqrt(variance + epsilon) * weight + bias. Ba et al. 2016, arXiv:1607.06450.
static void layer_norm(Worker& worker, const LayerNorm& a) {
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) {
    const float* x = a.x + row * a.stride;
    float* out = a.out + row * a.stride;
    F sum = zero(), squares = zero();
    for (int64_t c = 0; c < a.cols; c += kLanes) sum = add(sum, load_first(x + c, a.cols - c));
    F mean = set1(sum_lanes(sum) / (float)a.cols);
    for (int64_t c = 0; c < a.cols; c += kLanes) {  // through memory: what is after a row's end must stay 0
      store_first(out + c, sub(load_first(x + c, a.cols - c), mean), a.cols - c);
      F v = load_first(out + c, a.cols - c);
      squares = fma(v, v, squares);
    }
    F factor = set1(1.0f / __builtin_sqrtf(sum_lanes(squares) / (float)a.cols + a.epsilon));
    for (int64_t c = 0; c < a.cols; c += kLanes) {
      F v = mul(mul(load_first(out + c, a.cols - c), factor), load_first(a.weight + c, a.cols - c));
      if (a.bias) v = add(v, load_first(a.bias + c, a.cols - c));
      store_first(out + c, v, a.cols - c);
    }
  }
}

static void join(Worker& worker, const Join& a) {
  constexpr int64_t kPiece = 1024;
  int64_t pieces = (a.cols + kPiece - 1) / kPiece;
  for (int64_t task; (task = claim(worker, 1)) < a.rows * pieces;) {
    int64_t row = task / pieces, from = task % pieces * kPiece, to = from + kPiece < a.cols ? from + kPiece : a.cols;
    const int32_t* places = a.places + row * a.per_row;
    const float* weights = a.weights + row * a.per_row;
    float* out = a.out + row * a.cols;
    float gate = a.gates ? 1.0f / (1.0f + exp_one(-a.gates[row * a.gate_stride])) : 1.0f;
    for (int64_t c = from; c < to; c += kLanes) {
      F sum = zero();
      for (int32_t i = 0; i < a.per_row; i++)
        sum = fma(load_first(a.values + places[i] * a.cols + c, to - c), set1(weights[i]), sum);
      if (a.extra) sum = fma(load_first(a.extra + row * a.cols + c, to - c), set1(gate), sum);
      sum = mul(sum, set1(a.scale));
      if (a.accumulate) sum = add(load_first(out + c, to - c), sum);
      store_first(out + c, sum, to - c);
    }
  }
}

static void cap(Worker& worker, const Cap& a) {
  constexpr int64_t kPiece = 4096;
  int64_t pieces = (a.count + kPiece - 1) / kPiece;
  for (int64_t task; (task = claim(worker, 1)) < pieces;) {
    int64_t to = (task + 1) * kPiece < a.count ? (task + 1) * kPiece : a.count;
    for (int64_t i = task * kPiece; i < to; i += kLanes) {
      F v = mul(load_first(a.x + i, to - i), set1(a.scale));
      if (a.cap > 0) v = mul(set1(a.cap), tanh(div(v, set1(a.cap))));
      store_first(a.x + i, v, to - i);
    }
  }
}

}  // namespace
