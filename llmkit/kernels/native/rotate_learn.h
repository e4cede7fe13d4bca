// Rotary positions of training (arXiv:2104.09864), from a tensor with any strides into one without gaps; backwards is the
// same by the opposite angles. Numbers are read and written in their own type and turned in float32.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

constexpr int64_t kRotateRun = 16;  // positions of a task

LK void rotate_head(const LearntRotation& a, int64_t from, int64_t to, const float* cosine, const float* sine) {
  int64_t half = a.rotary_dim / 2;
  for (int64_t i = 0; i < half; i += kLanes) {
    F first = load_first_as(a.x, a.type, from + i, half - i), c = load_first(cosine + i, half - i);
    F second = load_first_as(a.x, a.type, from + half + i, half - i);
    F s = mul(load_first(sine + i, half - i), set1(a.sign));
    store_first_as(a.out, a.type, to + i, sub(mul(first, c), mul(second, s)), half - i);
    store_first_as(a.out, a.type, to + half + i, add(mul(second, c), mul(first, s)), half - i);
  }
  for (int64_t i = a.rotary_dim; i < a.head_dim; i += kLanes)
    store_first_as(a.out, a.type, to + i, load_first_as(a.x, a.type, from + i, a.head_dim - i), a.head_dim - i);
}

static void learn_rotation(Worker& worker, const LearntRotation& a) {
  int64_t runs = (a.length + kRotateRun - 1) / kRotateRun, half = a.rotary_dim / 2;
  for (int64_t task; (task = claim(worker, 1)) < a.rows * runs;) {
    int64_t row = task / runs, start = task % runs * kRotateRun;
    int64_t end = start + kRotateRun < a.length ? start + kRotateRun : a.length;
    for (int64_t t = start; t < end; t++)
      for (int64_t head = 0; head < a.heads; head++)
        rotate_head(a, row * a.x_row + head * a.x_head + t * a.x_token,
                    ((row * a.length + t) * a.heads + head) * a.head_dim, a.cosine + row * a.table_row + t * half,
                    a.sine + row * a.table_row + t * half);
  }
}

}  // namespace
