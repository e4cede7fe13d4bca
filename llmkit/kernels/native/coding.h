// Weights to the codes of a lattice and back, and the inner loop of error feedback.
#pragma once
#include "kernels.h"
#include "lanes.h"
#include "search.h"

namespace {

struct Table {
  const float* at;
  int32_t size;
  bool even;

  LK_LAMBDA explicit Table(const Lattice& lattice)
      : at(lattice.table), size(lattice.table_size), even(is_even(lattice.table, lattice.table_size)) {}
  // The nearest code, as a float, of what is in units of the step; and the table's value of it.
  LK_LAMBDA F nearest(F scaled, F& value) const {
    F first = set1(at[0]);
    if (even) {
      F code = rounded(clamped(sub(scaled, first), zero(), set1((float)(size - 1))));
      value = add(code, first);
      return code;
    }
    F code = zero();
    value = first;
    for (int32_t i = 1; i < size; i++) {
      F middle = set1((at[i] + at[i - 1]) / 2);
      value = pick(scaled, middle, set1(at[i]), value);
      code = pick(scaled, middle, set1((float)i), code);
    }
    return code;
  }
};

LK F in_steps(F x, F step, const F* base) {
  F moved = base ? sub(x, *base) : x;
  F safe = pick(abs(step), zero(), step, set1(1.0f));
  return pick(abs(step), zero(), div(moved, safe), zero());
}

// Codes from 0 to 255; by way of int8, whose stores saturate on some machines.
LK void store_codes(uint8_t* p, F code) {
  store_i8((int8_t*)p, round_int(sub(code, set1(128.0f))));
  for (int i = 0; i < kLanes; i++) p[i] ^= 0x80;
}

static void nearest_codes(Worker& worker, const Coding& a) {
  const Lattice& l = a.lattice;
  Table table(l);
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) {
    const float* x = a.values + row * a.values_stride;
    uint8_t* codes = a.codes + row * a.codes_stride;
    for (int64_t c = 0; c < a.cols;) {
      int64_t group = (a.first + c) / l.group, end = (group + 1) * l.group - a.first;
      if (end > a.cols) end = a.cols;
      F step = set1(l.step[row * l.groups + group]), base = set1(l.base ? l.base[row * l.groups + group] : 0.0f), value;
      for (; c + kLanes <= end; c += kLanes)
        store_codes(codes + c, table.nearest(in_steps(load(x + c), step, l.base ? &base : nullptr), value));
      if (c < end) {
        uint8_t last[kLanes];
        F scaled = in_steps(load_tail(x + c, end - c), step, l.base ? &base : nullptr);
        store_codes(last, table.nearest(scaled, value));
        for (int i = 0; c < end; i++, c++) codes[c] = last[i];
      }
    }
  }
}

static void code_values(Worker& worker, const Coding& a) {
  const Lattice& l = a.lattice;
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) {
    float* out = a.values + row * a.values_stride;
    const uint8_t* codes = a.codes + row * a.codes_stride;
    for (int64_t c = 0; c < a.cols;) {
      int64_t group = (a.first + c) / l.group, end = (group + 1) * l.group - a.first;
      if (end > a.cols) end = a.cols;
      float step = l.step[row * l.groups + group];
      if (l.base) {
        float base = l.base[row * l.groups + group];
        for (; c < end; c++) out[c] = l.table[codes[c]] * step + base;
      } else {
        for (; c < end; c++) out[c] = l.table[codes[c]] * step;
      }
    }
  }
}

static size_t feedback_bytes(const Feedback& a) {
  return (size_t)((a.count + kLanes - 1) / kLanes * kLanes * kLanes) * 2 * sizeof(float);
}

// A lane is a row.
static void feedback_16(const Feedback& a, const Table& table, int64_t first, float* x, float* errors) {
  const Lattice& l = a.lattice;
  int64_t rows = a.rows - first < kLanes ? a.rows - first : kLanes;
  for (int64_t c = 0; c < a.count; c += kLanes) {
    F lanes[kLanes];
    for (int i = 0; i < kLanes; i++)
      lanes[i] = i < rows ? load_first(a.weight + (first + i) * a.weight_stride + c, a.count - c) : zero();
    transpose16(lanes, x + c * kLanes, kLanes);
  }
  for (int64_t c = 0; c < a.count; c++) {
    int64_t column = a.columns[c], place = first * l.groups + column / l.group;
    float steps[kLanes] = {0}, bases[kLanes] = {0};
    for (int i = 0; i < rows; i++) steps[i] = l.step[place + i * l.groups];
    if (l.base)
      for (int i = 0; i < rows; i++) bases[i] = l.base[place + i * l.groups];
    F step = load(steps), base = load(bases), wanted = load(x + c * kLanes), value;
    F code = table.nearest(in_steps(wanted, step, l.base ? &base : nullptr), value);
    value = mul(value, step);
    if (l.base) value = add(value, base);
    const float* factor = a.factor + c * a.factor_stride;
    F error = div(sub(wanted, value), set1(factor[c])), less = sub(zero(), error);
    store(errors + c * kLanes, error);
    uint8_t codes[kLanes];
    store_codes(codes, code);
    for (int i = 0; i < rows; i++) a.codes[(first + i) * a.codes_stride + column] = codes[i];
    for (int64_t j = c + 1; j < a.count; j++)
      store(x + j * kLanes, fma(less, set1(factor[j]), load(x + j * kLanes)));
  }
  for (int64_t c = 0; c < a.count; c += kLanes) {
    float square[kLanes * kLanes];
    transpose16(errors + c * kLanes, kLanes, square, kLanes);
    for (int i = 0; i < rows; i++)
      store_first(a.errors + (first + i) * a.count + c, load(square + i * kLanes), a.count - c);
  }
}

static void feedback(Worker& worker, const Feedback& a, char* memory) {
  Table table(a.lattice);
  float* x = (float*)memory;
  float* errors = x + feedback_bytes(a) / 2 / sizeof(float);
  for (int64_t task; (task = claim(worker, 1)) * kLanes < a.rows;) feedback_16(a, table, task * kLanes, x, errors);
}

}  // namespace
