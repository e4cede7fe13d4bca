// Low-rank additions to products: LoRA (Hu et al. 2021, arXiv:2106.09685) and DoRA (Liu et al. 2024, arXiv:2402.09353).
//
// Each row gets those of its own text's adapter, or none, whatever the rows beside it get: who computes a piece, and
// what else is in the pass, never changes its bits.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

constexpr int kRanksAtOnce = 4;

// Which text a row belongs to.
LK int32_t text_of(const Adapted& a, int64_t row) {
  int32_t low = 0, high = a.num_texts - 1;
  while (low < high) {
    int32_t middle = (low + high + 1) / 2;
    if (a.query_start[middle] <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

// What a row's adapter adds to a product, or null.
LK const LowRank* addition_of(const Adapted& a, int64_t row, int64_t product) {
  const LowRank* adapter = a.adapters[text_of(a, row)];
  if (!adapter || !adapter[a.first + product].a) return nullptr;
  return adapter + a.first + product;
}

// out[k] = x . rows[k], each in one order whatever COUNT is.
template <int COUNT>
LK void dots(const float* x, const float* rows, int64_t cols, float* out) {
  F sums[COUNT];
  LK_UNROLL for (int k = 0; k < COUNT; k++) sums[k] = zero();
  for (int64_t c = 0; c < cols; c += kLanes) {
    F v = load_first(x + c, cols - c);
    LK_UNROLL for (int k = 0; k < COUNT; k++) sums[k] = fma(v, load_first(rows + k * cols + c, cols - c), sums[k]);
  }
  LK_UNROLL for (int k = 0; k < COUNT; k++) out[k] = sum_lanes(sums[k]);
}

// The rows through the narrow side: inner = a x. Ends without a barrier.
static void low_rank_in(Worker& worker, const Adapted& a) {
  int64_t pieces = (a.most_rank + kRanksAtOnce - 1) / kRanksAtOnce, each = a.num_products * pieces;
  for (int64_t task; (task = claim(worker, 1)) < a.rows * each;) {
    int64_t row = task / each, product = task % each / pieces, from = task % pieces * kRanksAtOnce;
    const LowRank* one = addition_of(a, row, product);
    if (!one || from >= one->rank) continue;
    int64_t count = one->rank - from < kRanksAtOnce ? one->rank - from : kRanksAtOnce;
    const float* x = a.x + row * a.x_stride;
    float* inner = a.inner + (row * a.num_products + product) * a.most_rank + from;
    const float* ranks = one->a + from * a.cols;
    if (count == kRanksAtOnce) dots<kRanksAtOnce>(x, ranks, a.cols, inner);
    else for (int64_t k = 0; k < count; k++) dots<1>(x, ranks + k * a.cols, a.cols, inner + k);
  }
}

// And through the wide one, onto what the product gave. Ends without a barrier.
static void low_rank_out(Worker& worker, const Adapted& a) {
  constexpr int64_t kPiece = 1024;
  int64_t widest = 0;
  for (int64_t n = 0; n < a.num_products; n++) widest = a.products[n].width > widest ? a.products[n].width : widest;
  int64_t pieces = (widest + kPiece - 1) / kPiece, each = a.num_products * pieces;
  for (int64_t task; (task = claim(worker, 1)) < a.rows * each;) {
    int64_t row = task / each, number = task % each / pieces, from = task % pieces * kPiece;
    const LowRank* one = addition_of(a, row, number);
    const Product& product = a.products[number];
    if (!one || from >= product.width) continue;
    int64_t to = from + kPiece < product.width ? from + kPiece : product.width;
    const float* inner = a.inner + (row * a.num_products + number) * a.most_rank;
    float* y = product.y + row * product.stride;
    for (int64_t c = from; c < to; c += kLanes) {
      F sum = zero();
      for (int64_t k = 0; k < one->rank; k++)
        sum = fma(set1(inner[k]), load_first(one->b + k * product.width + c, to - c), sum);
      F held = load_first(y + c, to - c);
      if (one->factors) {  // only the product itself is rescaled: not its bias, nor what it was added to
        F apart = product.bias ? load_first(product.bias + c, to - c) : zero();
        if (a.before) apart = add(apart, load_first(a.before + row * product.stride + c, to - c));
        held = fma(load_first(one->factors + c, to - c), sub(held, apart), add(apart, sum));
      } else {
        held = add(held, sum);
      }
      store_first(y + c, held, to - c);
    }
  }
}

static void low_rank_row(const LowRankRow& a) {
  for (int64_t from = 0; from < a.rank; from += kRanksAtOnce) {
    int64_t ranks = a.rank - from < kRanksAtOnce ? a.rank - from : kRanksAtOnce;
    float inner[kRanksAtOnce];
    for (int64_t k = 0; k < ranks; k++) dots<1>(a.x, a.in + (from + k) * a.in_stride, a.cols, inner + k);
    for (int64_t c = 0; c < a.count; c += kLanes) {
      F sum = load_first(a.y + c, a.count - c);
      for (int64_t k = 0; k < ranks; k++)
        sum = fma(set1(inner[k]), load_first(a.out + (from + k) * a.out_stride + c, a.count - c), sum);
      store_first(a.y + c, sum, a.count - c);
    }
  }
}

}  // namespace
