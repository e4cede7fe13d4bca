// Weights to the codes of a lattice and back, and the inner loop of error feedback.
#pragma once
#include "kernels.h"
#include "lanes.h"
#include "table.h"

namespace {

LK F in_steps(F x, F step, const F* base) {
  F moved = base ? sub(x, *base) : x;
  F safe = pick(abs(step), zero(), step, set1(1.0f));
  return pick(abs(step), zero(), div(moved, safe), zero());
}

static void nearest_codes(Worker& worker, const Coding& a) {
  const Lattice& l = a.lattice;
  Table table(l.table, l.table_size);
  for (int64_t row; (row = claim(worker, 1)) < a.rows;) {
    const float* x = a.values + row * a.values_stride;
    uint8_t* codes = a.codes + row * a.codes_stride;
    for (int64_t c = 0; c < a.cols;) {
      int64_t group = (a.first + c) / l.group, end = (group + 1) * l.group - a.first;
      if (end > a.cols) end = a.cols;
      F step = set1(l.step[row * l.groups + group]), base = set1(l.base ? l.base[row * l.groups + group] : 0.0f), value;
      for (; c + kLanes <= end; c += kLanes)
        store_codes(codes + c, table.nearest(in_steps(load(x + c), step, l.base ? &base : nullptr), value), table.size);
      if (c < end) {
        F scaled = in_steps(load_tail(x + c, end - c), step, l.base ? &base : nullptr);
        store_first_codes(codes + c, table.nearest(scaled, value), table.size, end - c);
        c = end;
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
  return (size_t)((a.count + kLanes - 1) / kLanes * kLanes * kLanes) * 3 * sizeof(float);
}

// A lane is a row: to[column * 16 + lane].
LK void lay_out_rows(const float* from, int64_t stride, int64_t rows, int64_t columns, float* to) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    F lanes[kLanes];
    for (int i = 0; i < kLanes; i++) lanes[i] = i < rows ? load_first(from + i * stride + c, columns - c) : zero();
    transpose16(lanes, to + c * kLanes, kLanes);
  }
}

static void feedback_16(const Feedback& a, const Table& table, int64_t first, float* x, float* original, float* errors) {
  const Lattice& l = a.lattice;
  int64_t rows = a.rows - first < kLanes ? a.rows - first : kLanes;
  lay_out_rows(a.weight + first * a.weight_stride, a.weight_stride, rows, a.count, x);
  if (a.original != a.weight) lay_out_rows(a.original + first * a.original_stride, a.original_stride, rows, a.count, original);
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
    F from = a.original == a.weight ? wanted : load(original + c * kLanes);
    F error = div(sub(from, value), set1(factor[c])), less = sub(zero(), error);
    store(errors + c * kLanes, error);
    uint8_t codes[kLanes];
    store_codes(codes, code, table.size);
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
  Table table(a.lattice.table, a.lattice.table_size);
  float* x = (float*)memory;
  size_t each = feedback_bytes(a) / 3 / sizeof(float);
  for (int64_t task; (task = claim(worker, 1)) * kLanes < a.rows;)
    feedback_16(a, table, task * kLanes, x, x + each, x + 2 * each);
}

}  // namespace
