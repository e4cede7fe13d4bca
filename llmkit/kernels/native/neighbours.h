// Whole numbers that scale a superblock's step and base for each group: of those given and those next to them, what
// loses least. A lane is a group, as in search.h.
#pragma once
#include "search.h"

namespace {

constexpr int kAtOnce = kParts == 1 ? 3 : 1;  // candidates that share their loads

struct Candidate16 {
  F scale, minimum, step, base;
};

template <int T, bool WEIGHED, class Value>
LK void candidate_errors(const Groups<WEIGHED>& g, const Candidate16* candidates, Value value, F* errors) {
  F inverses[T];
  LK_UNROLL for (int t = 0; t < T; t++) inverses[t] = inverse_of(candidates[t].step), errors[t] = zero();
  for (int64_t c = 0; c < g.width; c++) {
    F x = g.value(c);
    LK_UNROLL for (int t = 0; t < T; t++) {
      F q = value(mul(sub(x, candidates[t].base), inverses[t]));
      F lost = sub(fma(q, candidates[t].step, candidates[t].base), x);
      errors[t] = fma(g.times(c, lost), lost, errors[t]);
    }
  }
}

template <bool WEIGHED, class Value>
LK void best_of_16(const Neighbours& a, const Groups<WEIGHED>& g, const Lanes& lanes, F size, F top, Value value) {
  const int moves[3] = {0, -1, 1};
  F low = set1((float)a.low), high = set1((float)a.high);
  F step_unit = div(lanes.load_from(a.step_unit), size), base_unit = zero(), minimum = zero();
  F scale = lanes.load_from(a.scale);
  if (a.base_unit) {
    base_unit = div(lanes.load_from(a.base_unit), size);
    minimum = lanes.load_from(a.minimum);
  }
  Candidate16 all[9], best{};
  int candidates = 0;
  for (int more = 0; more < (a.base_unit ? 3 : 1); more++)
    for (int by : moves) {
      F s = clamped(add(scale, set1((float)by)), low, high), m = minimum;
      if (a.base_unit) m = clamped(add(minimum, set1((float)moves[more])), low, high);
      all[candidates++] = {s, m, mul(s, step_unit), sub(zero(), mul(m, base_unit))};
    }
  F error = set1(3.4e38f);
  for (int from = 0; from < candidates; from += kAtOnce) {
    F errors[kAtOnce];
    candidate_errors<kAtOnce>(g, all + from, value, errors);
    LK_UNROLL for (int t = 0; t < kAtOnce; t++) {
      const Candidate16& one = all[from + t];
      best.scale = pick(error, errors[t], one.scale, best.scale);
      best.minimum = pick(error, errors[t], one.minimum, best.minimum);
      best.step = pick(error, errors[t], one.step, best.step);
      best.base = pick(error, errors[t], one.base, best.base);
      error = min(errors[t], error);
    }
  }
  F sums[6] = {error, zero(), zero(), zero(), zero(), zero()}, inverse = inverse_of(best.step);
  for (int64_t c = 0; c < g.width; c++) {
    F x = g.value(c), q = value(mul(sub(x, best.base), inverse)), weighed = g.times(c, q);
    sums[1] = add(sums[1], weighed);
    sums[2] = fma(weighed, q, sums[2]);
    sums[3] = fma(weighed, x, sums[3]);
    sums[4] = add(sums[4], g.times(c, set1(1.0f)));
    sums[5] = add(sums[5], g.times(c, x));
  }
  sums[0] = mul(mul(sums[0], size), size);
  sums[3] = mul(sums[3], size);
  sums[5] = mul(sums[5], size);
  lanes.store_to(a.new_scale, best.scale);
  if (a.base_unit) lanes.store_to(a.new_minimum, best.minimum);
  for (int i = 0; i < 6; i++) {
    float of_lanes[kLanes];
    store(of_lanes, mul(sums[i], top));
    for (int64_t lane = 0; lane < lanes.count; lane++) a.sums[lanes.group(lane) * 6 + i] = of_lanes[lane];
  }
}

template <bool WEIGHED>
static void neighbours_16(const Neighbours& a, const Lanes& lanes, const Ends& ends, float* x, float* importance, F top) {
  Groups<WEIGHED> g{x, importance, a.width};
  const float* table = a.table;
  F largest = max(abs(ends.low), abs(ends.top));
  F size = pick(largest, zero(), largest, set1(1.0f));
  F inverse = inverse_unit(size);
  for (int64_t c = 0; c < a.width; c++) store(x + c * kLanes, mul(g.value(c), inverse));
  if (is_even(table, a.table_size)) {
    F low = set1(table[0]), high = set1(table[a.table_size - 1]);
    best_of_16(a, g, lanes, size, top, [&](F scaled) LK_LAMBDA { return whole(clamped(scaled, low, high)); });
  } else {
    best_of_16(a, g, lanes, size, top, [&](F scaled) LK_LAMBDA { return nearest_of(table, a.table_size, scaled); });
  }
}

static void neighbours(Worker& worker, const Neighbours& a, char* memory) {
  GroupsOf all{a.weight, a.importance, a.groups, a.width, a.importance_rows, a.type};
  each_16(worker, all, memory, [&](const Lanes& lanes, const Ends& ends, float* x, float* importance, F top) LK_LAMBDA {
    if (a.importance) neighbours_16<true>(a, lanes, ends, x, importance, top);
    else neighbours_16<false>(a, lanes, ends, x, importance, top);
  });
}

}  // namespace
