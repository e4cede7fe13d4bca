// Steps and bases of groups by weighted least squares over some ways to round. A lane is a group, so that no sum runs
// across lanes, a group may have any width, and neighbours cannot change a group's bits.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

constexpr int kTogether = kParts == 1 ? 2 : 1;  // trials that share their loads, where registers allow
constexpr int kRefinements = 3;                 // rounds of: nearest codes, then the best step for them

// To whole numbers, ties to even; |a| < 2^22.
LK F rounded(F a) {
  F big = set1(12582912.0f);  // 1.5 * 2^23
  return sub(add(a, big), big);
}
LK F clamped(F a, F low, F high) { return min(max(a, low), high); }
// 1 / a; 0 for 0.
LK F inverse_of(F a) { return pick(abs(a), zero(), div(set1(1.0f), pick(abs(a), zero(), a, set1(1.0f))), zero()); }

// Whether a table is of whole numbers in a row, so that rounding needs no search.
LK bool is_even(const float* table, int32_t size) {
  for (int32_t i = 1; i < size; i++)
    if (table[i] - table[i - 1] != 1.0f) return false;
  return true;
}
// The nearest value of a table.
LK F nearest_of(const float* table, int32_t size, F scaled) {
  F value = set1(table[0]);
  for (int32_t i = 1; i < size; i++) value = pick(scaled, set1((table[i] + table[i - 1]) / 2), set1(table[i]), value);
  return value;
}

// 16 groups side by side: to[column * 16 + lane].
template <class At>
LK void lay_out_groups(const void* from, int32_t type, int64_t width, int64_t first, int64_t count, At at, float* to) {
  for (int64_t c = 0; c < width; c += kLanes) {
    F rows[kLanes];
    for (int i = 0; i < kLanes; i++)
      rows[i] = i < count ? load_first_as(from, type, at(first + i) * width + c, width - c) : zero();
    transpose16(rows, to + c * kLanes, kLanes);
  }
}

template <bool WEIGHED>
struct Groups {
  const float* x;           // (width, 16)
  const float* importance;  // likewise
  int64_t width;

  LK_LAMBDA F value(int64_t c) const { return load(x + c * kLanes); }
  LK_LAMBDA F times(int64_t c, F a) const { return WEIGHED ? mul(load(importance + c * kLanes), a) : a; }
};

// The best step for codes is product / square; what it explains of the weights, product^2 / square.
struct Explained {
  F step = zero(), gain = zero();

  LK_LAMBDA void offer(F product, F square) {
    F divisor = pick(square, zero(), square, set1(1.0f));
    F explains = pick(square, zero(), div(mul(product, product), divisor), zero());
    step = pick(explains, gain, div(product, divisor), step);
    gain = max(explains, gain);
  }
};

template <int T, bool WEIGHED, class Code>
LK void offer_codes(const Groups<WEIGHED>& g, const F* inverses, Code code, Explained& best) {
  F product[T], square[T];
  LK_UNROLL for (int t = 0; t < T; t++) product[t] = square[t] = zero();
  for (int64_t c = 0; c < g.width; c++) {
    F x = g.value(c);
    LK_UNROLL for (int t = 0; t < T; t++) {
      F q = code(mul(x, inverses[t])), weighed = g.times(c, q);
      product[t] = fma(weighed, x, product[t]);
      square[t] = fma(weighed, q, square[t]);
    }
  }
  LK_UNROLL for (int t = 0; t < T; t++) best.offer(product[t], square[t]);
}

// Weights are in units of the largest. `inverse(t)`: what trial t multiplies them by.
template <bool WEIGHED, class Inverse, class Code>
LK F best_step(const Groups<WEIGHED>& g, int32_t trials, Inverse inverse, Code code) {
  Explained best;
  for (int32_t t = 0; t < trials; t += kTogether) {
    F inverses[kTogether];
    LK_UNROLL for (int i = 0; i < kTogether; i++) inverses[i] = set1(inverse(t + i < trials ? t + i : trials - 1));
    offer_codes<kTogether>(g, inverses, code, best);
  }
  for (int i = 0; i < kRefinements; i++) {
    F one = inverse_of(best.step);
    offer_codes<1>(g, &one, code, best);
  }
  return best.step;
}

// Trials put the largest weight near the first code and near the last in turn.
template <bool WEIGHED>
static F even_step(const Search& a, const Groups<WEIGHED>& g) {
  F low = set1((float)a.low), high = set1((float)a.high);
  return best_step(
      g, a.trials, [&](int32_t t) LK_LAMBDA { return (float)((t % 2 ? a.high : a.low) + 0.1 * (a.trials / 2 - t)); },
      [&](F scaled) LK_LAMBDA { return rounded(clamped(scaled, low, high)); });
}

// The first half of the trials puts the largest weight near the table's first value, the other half near its last.
template <bool WEIGHED>
static F table_step(const Search& a, const Groups<WEIGHED>& g) {
  const float *table = a.table, first = table[0], last = table[a.table_size - 1];
  float spread = -first > last ? -first : last;
  return best_step(
      g, 2 * a.trials,
      [&](int32_t t) LK_LAMBDA {
        double end = t < a.trials ? first : last;
        return (float)(end + (t % a.trials - a.trials / 2) * (double)spread / 127);
      },
      [&](F scaled) LK_LAMBDA { return nearest_of(table, a.table_size, scaled); });
}

// Sums over a group's codes q and weights y.
struct LineSums {
  F q = zero(), qq = zero(), qy = zero(), error = zero();
};

template <bool WEIGHED>
LK LineSums line_sums(const Groups<WEIGHED>& g, F step, F base, F inverse, F high) {
  LineSums s;
  F offset = sub(zero(), mul(base, inverse));
  for (int64_t c = 0; c < g.width; c++) {
    F y = g.value(c), q = rounded(clamped(fma(y, inverse, offset), zero(), high));
    F lost = sub(fma(q, step, base), y), weighed = g.times(c, q);
    s.q = add(s.q, weighed);
    s.qq = fma(weighed, q, s.qq);
    s.qy = fma(weighed, y, s.qy);
    s.error = fma(g.times(c, lost), lost, s.error);
  }
  return s;
}

// The line base + step * q through weights, and its error.
template <bool WEIGHED>
struct Line {
  const Groups<WEIGHED>& g;
  F high, cap, total, y;  // no base is above cap; sums of the importance and of the weighed weights
  F step, base;
  LineSums sums;

  LK_LAMBDA void start(F first_step) {
    step = first_step, base = zero();
    sums = line_sums(g, step, base, inverse_of(step), high);
  }
  // The line that least squares draw through codes, kept where its nearest codes lose less.
  LK_LAMBDA void offer(const LineSums& s) {
    F determinant = sub(mul(total, s.qq), mul(s.q, s.q));
    F divisor = pick(determinant, zero(), determinant, set1(1.0f));
    F new_step = div(sub(mul(total, s.qy), mul(y, s.q)), divisor);
    F new_base = div(sub(mul(s.qq, y), mul(s.q, s.qy)), divisor);
    F through_cap = mul(sub(s.qy, mul(cap, s.q)), inverse_of(s.qq));
    new_step = pick(new_base, cap, through_cap, new_step);
    new_base = min(new_base, cap);
    F valid = min(determinant, new_step);
    new_step = pick(valid, zero(), new_step, step);
    new_base = pick(valid, zero(), new_base, base);
    LineSums found = line_sums(g, new_step, new_base, inverse_of(new_step), high);
    F old = sums.error;
    step = pick(old, found.error, new_step, step);
    base = pick(old, found.error, new_base, base);
    sums.q = pick(old, found.error, found.q, sums.q);
    sums.qq = pick(old, found.error, found.qq, sums.qq);
    sums.qy = pick(old, found.error, found.qy, sums.qy);
    sums.error = min(found.error, old);
  }
};

// Weights are moved and scaled to lie between 0 and 1.
template <bool WEIGHED>
static void even_line(const Search& a, const Groups<WEIGHED>& g, F cap, F& step, F& base) {
  F total = zero(), y = zero(), high = set1((float)a.high);
  for (int64_t c = 0; c < g.width; c++) {
    total = add(total, g.times(c, set1(1.0f)));
    y = add(y, g.times(c, g.value(c)));
  }
  Line<WEIGHED> line{g, high, cap, total, y, zero(), zero(), {}};
  line.start(set1(1.0f / (float)a.high));
  for (int32_t t = 0; t < a.trials; t++) {
    F inverse = set1((float)(a.high - 1 + 0.1 * t));
    F first_base = set1((float)(0.25 * (t % 3) / a.high));  // other bases are other ways to round
    line.offer(line_sums(g, zero(), first_base, inverse, high));
  }
  for (int i = 0; i < kRefinements; i++) line.offer(line.sums);
  step = line.step, base = line.base;
}

// 1 / a of what weights are measured in; 0, and with it a step of 0, where that would overflow.
LK F inverse_unit(F a) { return pick(abs(a), set1(3.0e-38f), inverse_of(a), zero()); }

template <bool WEIGHED>
static void search_steps(const Search& a, int64_t first, const Groups<WEIGHED>& g, float* x) {
  F unit = zero();
  for (int64_t c = 0; c < a.width; c++) unit = pick(abs(g.value(c)), abs(unit), g.value(c), unit);
  F inverse = inverse_unit(unit);
  for (int64_t c = 0; c < a.width; c++) store(x + c * kLanes, mul(g.value(c), inverse));
  F step = a.kind == kTable ? table_step(a, g) : even_step(a, g);
  store_first(a.step + first, mul(step, unit), a.groups - first);
}

template <bool WEIGHED>
static void search_lines(const Search& a, int64_t first, const Groups<WEIGHED>& g, float* x) {
  F low = g.value(0), top = low;
  for (int64_t c = 1; c < a.width; c++) low = min(low, g.value(c)), top = max(top, g.value(c));
  if (a.below_zero) low = min(low, zero());
  F unit = sub(top, low), inverse = inverse_unit(unit), step, base;
  for (int64_t c = 0; c < a.width; c++) store(x + c * kLanes, mul(sub(g.value(c), low), inverse));
  even_line(a, g, a.below_zero ? mul(sub(zero(), low), inverse) : set1(3.0e38f), step, base);
  F none = zero();
  step = pick(inverse, none, mul(step, unit), none);
  base = add(low, pick(inverse, none, mul(base, unit), none));
  store_first(a.step + first, step, a.groups - first);
  store_first(a.base + first, base, a.groups - first);
}

// Importance in units of each group's largest, which is returned; where none counts, all do.
LK F level_importance(float* importance, int64_t width) {
  F top = zero();
  for (int64_t c = 0; c < width; c++) top = max(top, load(importance + c * kLanes));
  F safe = pick(top, zero(), top, set1(1.0f));
  for (int64_t c = 0; c < width; c++) {
    F one = div(load(importance + c * kLanes), safe);
    store(importance + c * kLanes, pick(top, zero(), one, set1(1.0f)));
  }
  return top;
}

// Groups in memory, and how much their weights count: see Search.
struct GroupsOf {
  const void* weight;
  const float* importance;
  int64_t groups, width, importance_rows;
  int32_t type;
};

// Bytes of a worker for 16 groups of this width and their importance.
static size_t groups_bytes(int64_t width) {
  return (size_t)((width + kLanes - 1) / kLanes * kLanes * kLanes) * 2 * sizeof(float);
}

// Lay out 16 groups after another and call on them.
template <class Call>
LK void each_16(Worker& worker, const GroupsOf& a, char* memory, Call call) {
  float* x = (float*)memory;
  float* importance = x + groups_bytes(a.width) / 2 / sizeof(float);
  int64_t some = 1 + 1024 / a.width, tasks = (a.groups + kLanes - 1) / kLanes;
  for (int64_t task; (task = claim(worker, some)) < tasks;)
    for (int64_t i = task; i < task + some && i < tasks; i++) {
      int64_t first = i * kLanes, count = a.groups - first;
      lay_out_groups(a.weight, a.type, a.width, first, count, [](int64_t m) LK_LAMBDA { return m; }, x);
      F top = set1(1.0f);
      if (a.importance) {
        auto at = [&](int64_t m) LK_LAMBDA { return m % a.importance_rows; };
        lay_out_groups(a.importance, kFloat32, a.width, first, count, at, importance);
        top = level_importance(importance, a.width);
      }
      call(first, x, importance, top);
    }
}

static void search(Worker& worker, const Search& a, char* memory) {
  GroupsOf all{a.weight, a.importance, a.groups, a.width, a.importance_rows, a.type};
  each_16(worker, all, memory, [&](int64_t first, float* x, float* importance, F) LK_LAMBDA {
    Groups<true> weighed{x, importance, a.width};
    Groups<false> plain{x, importance, a.width};
    if (a.kind == kEvenWithBase) a.importance ? search_lines(a, first, weighed, x) : search_lines(a, first, plain, x);
    else a.importance ? search_steps(a, first, weighed, x) : search_steps(a, first, plain, x);
  });
}

}  // namespace
