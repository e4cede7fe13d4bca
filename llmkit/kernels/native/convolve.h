// A causal convolution of each channel by itself, from one state of a text to the next.
#pragma once
#include "elementwise.h"
#include "state.h"

namespace {

LK float* state_of(const StateTexts& texts, int64_t text) { return texts.states + texts.slots[text] * texts.stride; }

// Where a state goes as it is after a row; null: nowhere.
LK float* copy_of(const StateTexts& texts, int64_t row) {
  bool has_one = texts.copies && texts.copies[row] >= 0;
  return has_one ? texts.states + texts.copies[row] * texts.stride : nullptr;
}

// Some floats of a state, `place` from its beginning.
LK void copy_part(const StateTexts& texts, int64_t row, const float* state, int64_t place, int64_t count) {
  if (float* copy = copy_of(texts, row)) memcpy(copy + place, state + place, sizeof(float) * (size_t)count);
}

// One text's: what is convolved, by its new positions, and what stood before these.
struct Convolved {
  float *x, *before;
};

// At a position, which is negative where it stands before the new ones.
LK float* convolved_row(const Convolve& a, const Convolved& text, int64_t t) {
  return t >= 0 ? text.x + t * a.stride : text.before + (a.kernel - 1 + t) * a.channels;
}

// u and y of the channels [from, to) at position t of a text, which is `row` of all.
LK void convolve_row(const Convolve& a, const Convolved& text, int64_t t, int64_t row, int64_t from, int64_t to) {
  float *u_row = text.x + t * a.stride, *out = a.out + row * a.out_stride;
  for (int64_t c = from; c < to; c += kLanes) {
    int64_t left = to - c;
    F u = load_first(u_row + c, left);
    if (a.times) store_first(u_row + c, u = mul(u, load_first(a.times + row * a.stride + c, left)), left);
    F y = mul(u, load_first(a.taps + (a.kernel - 1) * a.channels + c, left));
    for (int64_t back = 1; back < a.kernel; back++) {
      F tap = load_first(a.taps + (a.kernel - 1 - back) * a.channels + c, left);
      y = fma(load_first(convolved_row(a, text, t - back) + c, left), tap, y);
    }
    if (a.bias) y = add(y, load_first(a.bias + c, left));
    if (a.activation >= 0) y = activated(y, a.activation);
    if (a.gate) y = mul(y, load_first(a.gate + row * a.stride + c, left));
    store_first(out + c, y, left);
  }
}

// The rows before position t, which are the state there; the earliest first, as old ones may move up.
LK void keep_last(const Convolve& a, const Convolved& text, int64_t t, float* into, int64_t from, int64_t to) {
  for (int64_t i = 0; i < a.kernel - 1; i++)
    memcpy(into + i * a.channels + from, convolved_row(a, text, t - a.kernel + 1 + i) + from,
           sizeof(float) * (size_t)(to - from));
}

// A task is some channels of a text, which nobody else reads or writes.
static void convolve(Worker& worker, const Convolve& a) {
  constexpr int64_t kPiece = 64;
  int64_t pieces = (a.channels + kPiece - 1) / kPiece;
  for (int64_t task; (task = claim(worker, 1)) < a.texts.count * pieces;) {
    int64_t number = task / pieces, from = task % pieces * kPiece;
    int64_t to = from + kPiece < a.channels ? from + kPiece : a.channels;
    int64_t first = a.texts.query_start[number], count = a.texts.query_start[number + 1] - first;
    Convolved text{a.x + first * a.stride, state_of(a.texts, number)};
    for (int64_t t = 0; t < count; t++) convolve_row(a, text, t, first + t, from, to);
    for (int64_t t = 0; t < count; t++)
      if (float* copy = copy_of(a.texts, first + t)) keep_last(a, text, t + 1, copy, from, to);
    keep_last(a, text, count, text.before, from, to);
  }
}

}  // namespace
