// Cross-entropy of rows of logits, and backwards what it asks of them: softmax less one at the target. Logits are read
// in their own type, all else is float32, and nothing as wide as the logits is kept.
#pragma once
#include <math.h>

#include "kernels.h"
#include "lanes.h"

namespace {

LK float logit(const CrossEntropy& a, int64_t at) {
  if (a.type == kFloat32) return ((const float*)a.logits)[at];
  uint32_t bits = (uint32_t)((const uint16_t*)a.logits)[at] << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static void row_nats(const CrossEntropy& a, int64_t row) {
  int64_t at = row * a.cols, whole = a.cols / kLanes * kLanes;
  float highest = -__builtin_inff();
  if (whole) {
    F top = load_as(a.logits, a.type, at);
    for (int64_t c = kLanes; c < whole; c += kLanes) top = max(top, load_as(a.logits, a.type, at + c));
    highest = max_lanes(top);
  }
  for (int64_t c = whole; c < a.cols; c++) highest = logit(a, at + c) > highest ? logit(a, at + c) : highest;
  F sums = zero();
  for (int64_t c = 0; c < whole; c += kLanes)
    sums = add(sums, exp(sub(load_as(a.logits, a.type, at + c), set1(highest))));
  float total = sum_lanes(sums);
  for (int64_t c = whole; c < a.cols; c++) total += exp_one(logit(a, at + c) - highest);
  a.terms[2 * row] = highest, a.terms[2 * row + 1] = logf(total);
  a.nats[row] = a.targets[row] < 0 ? 0.0f : highest - logit(a, at + a.targets[row]) + logf(total);
}

LK void put_slope(const CrossEntropy& a, int64_t at, float value) {
  if (a.type == kFloat32) ((float*)a.slopes)[at] = value;
  else ((uint16_t*)a.slopes)[at] = to_bf16(value);
}

// Slopes may take the logits' place.
static void row_slopes(const CrossEntropy& a, int64_t row) {
  int64_t at = row * a.cols, whole = a.cols / kLanes * kLanes;
  bool counts = a.targets[row] >= 0;
  float factor = counts ? a.factor[row] : 0.0f, highest = a.terms[2 * row], rest = a.terms[2 * row + 1];
  float chosen = counts ? logit(a, at + a.targets[row]) : 0.0f;
  for (int64_t c = 0; c < whole; c += kLanes) {
    F slope = zero();
    if (counts) {
      F below = sub(load_as(a.logits, a.type, at + c), set1(highest));
      slope = mul(exp(sub(below, set1(rest))), set1(factor));
    }
    store_as(a.slopes, a.type, at + c, slope);
  }
  for (int64_t c = whole; c < a.cols; c++)
    put_slope(a, at + c, counts ? exp_one(logit(a, at + c) - highest - rest) * factor : 0.0f);
  if (counts) put_slope(a, at + a.targets[row], (exp_one(chosen - highest - rest) - 1.0f) * factor);
}

static void cross_entropy(Worker& worker, const CrossEntropy& a) {
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) a.slopes ? row_slopes(a, row) : row_nats(a, row);
}

}  // namespace
