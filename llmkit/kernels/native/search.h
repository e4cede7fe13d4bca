// Steps and bases of groups by weighted least squares over some ways to round: see llmkit/quant/search.py.
#pragma once
#include "groups.h"
#include "table.h"

namespace {

constexpr int kTogether = kParts == 1 ? 3 : 1;  // trials that share their loads, where registers allow
constexpr int kNarrowLines = 9;                 // trials before those that leave large weights out
constexpr float kNoGain = -3.0e38f;

// The best step for codes is product / square; what it explains of the weights, product^2 / square. Kept undivided:
// a trial costs no division.
struct Explained {
  F product = zero(), square = set1(1.0f);

  LK_LAMBDA void offer(F new_product, F new_square) {
    F ours = mul(mul(product, product), new_square), theirs = mul(mul(new_product, new_product), square);
    product = pick(theirs, ours, new_product, product);
    square = pick(theirs, ours, new_square, square);
  }
  LK_LAMBDA F step() const { return div(product, square); }
};

template <int T, bool WEIGHED, class Code>
LK void offer_codes(const Groups<WEIGHED>& g, const F* inverses, Code code, Explained& best) {
  F product[T], square[T];
  LK_UNROLL for (int t = 0; t < T; t++) product[t] = square[t] = zero();
  for (int64_t c = 0; c < g.width; c++) {
    F x = g.value(c);
    LK_UNROLL for (int t = 0; t < T; t++) {
      F q = code(x, inverses[t]), weighed = g.times(c, q);
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
  return best.step();
}

// Trials put the largest weight at the first code and at the last in turn: a code inside them, and from there on
// outwards, where it is left out.
template <bool WEIGHED>
static F even_step(const Search& a, const Groups<WEIGHED>& g) {
  float low_code = (float)a.low, high_code = (float)a.high;
  F low = set1(low_code), high = set1(high_code);
  return best_step(
      g, a.trials,
      [&](int32_t t) LK_LAMBDA {
        float inside = 1.0f - 0.25f * (float)t;
        return t % 2 ? high_code - inside : low_code + inside;
      },
      [&](F x, F inverse) LK_LAMBDA { return whole(clamped(mul(x, inverse), low, high)); });
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
      [&](F x, F inverse) LK_LAMBDA { return nearest_of(table, a.table_size, mul(x, inverse)); });
}

// What a trial makes of weights y: the codes nearest to y * inverse + moved.
struct LineTrial {
  F inverse, moved;
};

// Weights and codes are counted from their middles, so that sums stay small beside what is told by them. Not where
// there is a cap: it is on the value of code 0.
struct Middle {
  float weight, code;
};

// Sums over a group's codes q and weights y.
struct LineSums {
  F q = zero(), qq = zero(), qy = zero();
};

// What is kept of the best line so far. Without a cap it explains along^2 / determinant of the weights, but for a
// constant and a factor, which is compared undivided; with one, where lines come at the cap, `gain`.
struct BestLine {
  F along = zero(), determinant = set1(1.0f), q = zero();
  F step, base = zero(), gain = set1(kNoGain);
};

// The line base + step * q through weights; no base is above cap, where there is one.
template <bool WEIGHED, bool CAPPED>
struct Line {
  const Groups<WEIGHED>& g;
  F first, last, cap, total, each, y;  // codes; sums of the importance, 1 over it, and of the weighed weights
  BestLine best;

  template <int T, bool CLAMPED>
  LK_LAMBDA void offer(const LineTrial* trials) {
    LineSums sums[T];
    for (int64_t c = 0; c < g.width; c++) {
      F one = g.value(c);
      LK_UNROLL for (int t = 0; t < T; t++) {
        F scaled = fma(one, trials[t].inverse, trials[t].moved);
        F q = whole(CLAMPED ? clamped(scaled, first, last) : scaled), weighed = g.times(c, q);
        sums[t].q = add(sums[t].q, weighed);
        sums[t].qq = fma(weighed, q, sums[t].qq);
        sums[t].qy = fma(weighed, one, sums[t].qy);
      }
    }
    LK_UNROLL for (int t = 0; t < T; t++) CAPPED ? choose_capped(sums[t]) : choose(sums[t]);
  }
  LK_LAMBDA F determinant_of(const LineSums& s) const { return sub(mul(total, s.qq), mul(s.q, s.q)); }
  LK_LAMBDA F along_of(const LineSums& s) const { return sub(mul(total, s.qy), mul(y, s.q)); }
  // The line that least squares draw through codes, kept where it explains more.
  LK_LAMBDA void choose(const LineSums& s) {
    F determinant = determinant_of(s), along = pick(determinant, zero(), max(along_of(s), zero()), zero());
    F ours = mul(mul(best.along, best.along), determinant), theirs = mul(mul(along, along), best.determinant);
    best.along = pick(theirs, ours, along, best.along);
    best.determinant = pick(theirs, ours, determinant, best.determinant);
    best.q = pick(theirs, ours, s.q, best.q);
  }
  LK_LAMBDA void choose_capped(const LineSums& s) {
    F determinant = determinant_of(s), along = along_of(s);
    F step = div(along, pick(determinant, zero(), determinant, set1(1.0f))), explains = mul(step, along);
    F base = mul(sub(y, mul(step, s.q)), each);
    F over = sub(s.qy, mul(cap, s.q)), through_cap = mul(over, inverse_of(s.qq));
    F at_cap = mul(cap, sub(add(y, y), mul(cap, total)));
    F capped_gain = sub(mul(total, fma(over, through_cap, at_cap)), mul(y, y));
    step = pick(base, cap, through_cap, step);
    explains = pick(base, cap, capped_gain, explains);
    explains = pick(min(determinant, step), zero(), explains, set1(kNoGain));
    best.step = pick(explains, best.gain, step, best.step);
    best.base = pick(explains, best.gain, min(base, cap), best.base);
    best.gain = max(explains, best.gain);
  }
  LK_LAMBDA void settle() {
    if (CAPPED) return;
    F step = div(best.along, best.determinant), base = mul(sub(y, mul(step, best.q)), each);
    best.base = pick(step, zero(), base, best.base);
    best.step = pick(step, zero(), step, best.step);
  }
};

// The first trials are from a code narrower than all weights to wider, about two bases, so that no code is beyond the
// last; then the larger weights are left out at the top, at both ends, and at the bottom in turn.
LK LineTrial line_trial(int32_t t, int32_t trials, int32_t high, Middle middle) {
  int32_t narrow = trials < kNarrowLines ? trials : kNarrowLines;
  double wider = t < narrow ? 0.44 - 0.18 * (narrow - 1 - t) + 0.4 * (t % 2) : 0.2 * t - 1;
  double moved = t < narrow ? -0.5 * (t % 2) : -0.25 - wider * (t % 3) / 2;
  double inverse = high + wider;
  return {set1((float)inverse), set1((float)(middle.weight * inverse + moved - middle.code))};
}

// Weights are moved and scaled to lie between 0 and 1, less the middle.
template <bool WEIGHED, bool CAPPED>
static void even_line(const Search& a, const Groups<WEIGHED>& g, Middle middle, F cap, F total, F y, F& step, F& base) {
  F first = set1(-middle.code), last = set1((float)a.high - middle.code);
  Line<WEIGHED, CAPPED> line{g, first, last, cap, total, inverse_of(total), y, {}};
  line.best.step = set1(1.0f / (float)a.high);
  for (int32_t t = 0; t < a.trials; t += kTogether) {
    LineTrial trials[kTogether];
    LK_UNROLL for (int i = 0; i < kTogether; i++)
      trials[i] = line_trial(t + i < a.trials ? t + i : a.trials - 1, a.trials, a.high, middle);
    if (t + kTogether <= kNarrowLines) line.template offer<kTogether, false>(trials);
    else line.template offer<kTogether, true>(trials);
  }
  line.settle();
  step = line.best.step;
  base = sub(add(line.best.base, set1(middle.weight)), mul(step, set1(middle.code)));
}

// 1 / a of what weights are measured in; 0, and with it a step of 0, where that would overflow.
LK F inverse_unit(F a) { return pick(abs(a), set1(3.0e-38f), inverse_of(a), zero()); }

// The codes of the values nearest to a group's weights; `code` may leave the rounding to whole numbers to the store.
template <class Code>
LK void keep_codes_of(const Search& a, int64_t group, Code code) {
  int64_t at = group * a.width, c = 0;
  if (a.type == kFloat32 && a.table_size <= 128)
    for (; c + kLanes <= a.width; c += kLanes)
      store_i8((int8_t*)a.codes + at + c, round_int(code(load((const float*)a.weight + at + c))));
  for (; c < a.width; c += kLanes) {
    F x = load_first_as(a.weight, a.type, at + c, a.width - c);
    store_first_codes(a.codes + at + c, whole(code(x)), a.table_size, a.width - c);
  }
}

// Steps and bases as they are kept, and codes where they are asked for.
LK void keep_found(const Search& a, const Lanes& lanes, F step, F base) {
  if (a.halves) step = to_half(step), base = to_half(base);
  lanes.store_to(a.step, step);
  if (a.kind == kEvenWithBase) lanes.store_to(a.base, base);
  if (!a.codes) return;
  float steps[kLanes], bases[kLanes];
  store(steps, inverse_of(step));
  store(bases, base);
  F first = set1(a.table[0]), last = set1((float)(a.table_size - 1));
  for (int64_t lane = 0; lane < lanes.count; lane++) {
    F inverse = set1(steps[lane]), from = set1(bases[lane]);
    if (a.kind == kTable)
      keep_codes_of(a, lanes.group(lane), [&](F x) LK_LAMBDA {
        return nearest_code(a.table, a.table_size, mul(x, inverse));
      });
    else if (a.kind == kEven)
      keep_codes_of(a, lanes.group(lane), [&](F x) LK_LAMBDA {
        return clamped(sub(mul(x, inverse), first), zero(), last);
      });
    else
      keep_codes_of(a, lanes.group(lane), [&](F x) LK_LAMBDA {
        return clamped(mul(sub(x, from), inverse), zero(), last);
      });
  }
}

template <bool WEIGHED>
static void search_steps(const Search& a, const Lanes& lanes, const Groups<WEIGHED>& g, const Ends& ends, float* x) {
  F under = sub(zero(), ends.low), unit = pick(under, ends.top, ends.low, ends.top), inverse = inverse_unit(unit);
  for (int64_t c = 0; c < a.width; c++) store(x + c * kLanes, mul(g.value(c), inverse));
  F step = a.kind == kTable ? table_step(a, g) : even_step(a, g);
  keep_found(a, lanes, mul(step, unit), zero());
}

template <bool WEIGHED>
static void search_lines(const Search& a, const Lanes& lanes, const Groups<WEIGHED>& g, const Ends& ends, float* x) {
  F low = a.below_zero ? min(ends.low, zero()) : ends.low;
  F unit = sub(ends.top, low), inverse = inverse_unit(unit), total = zero(), sum = zero(), step, base;
  Middle middle = {0.5f, (float)((a.high + 1) / 2)};
  if (a.below_zero) middle = {0, 0};
  for (int64_t c = 0; c < a.width; c++) {
    F y = sub(mul(sub(g.value(c), low), inverse), set1(middle.weight));
    store(x + c * kLanes, y);
    sum = add(sum, g.times(c, y));
    if (WEIGHED) total = add(total, load(g.importance + c * kLanes));
  }
  if (!WEIGHED) total = set1((float)a.width);
  F cap = mul(sub(zero(), low), inverse);
  a.below_zero ? even_line<WEIGHED, true>(a, g, middle, cap, total, sum, step, base)
               : even_line<WEIGHED, false>(a, g, middle, cap, total, sum, step, base);
  F none = zero();
  step = pick(inverse, none, mul(step, unit), none);
  base = add(low, pick(inverse, none, mul(base, unit), none));
  keep_found(a, lanes, step, base);
}

static void search(Worker& worker, const Search& a, char* memory) {
  GroupsOf all{a.weight, a.importance, a.groups, a.width, a.importance_rows, a.type};
  each_16(worker, all, memory, [&](const Lanes& lanes, const Ends& ends, float* x, float* importance, F) LK_LAMBDA {
    Groups<true> weighed{x, importance, a.width};
    Groups<false> plain{x, importance, a.width};
    if (a.kind == kEvenWithBase) a.importance ? search_lines(a, lanes, weighed, ends, x) : search_lines(a, lanes, plain, ends, x);
    else a.importance ? search_steps(a, lanes, weighed, ends, x) : search_steps(a, lanes, plain, ends, x);
  });
}

}  // namespace
