// The values that codes stand for, and the nearest of them.
#pragma once
#include "lanes.h"

namespace {

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

// Its code, as a float.
LK F nearest_code(const float* table, int32_t size, F scaled) {
  F code = zero();
  for (int32_t i = 1; i < size; i++)
    code = pick(scaled, set1((table[i] + table[i - 1]) / 2), set1((float)i), code);
  return code;
}

struct Table {
  const float* at;
  int32_t size;
  bool even;

  LK_LAMBDA Table(const float* table, int32_t table_size)
      : at(table), size(table_size), even(is_even(table, table_size)) {}
  // The nearest code, as a float, of what is in units of the step; and the table's value of it.
  LK_LAMBDA F nearest(F scaled, F& value) const {
    F first = set1(at[0]);
    if (even) {
      F code = whole(clamped(sub(scaled, first), zero(), set1((float)(size - 1))));
      value = add(code, first);
      return code;
    }
    value = nearest_of(at, size, scaled);
    return nearest_code(at, size, scaled);
  }
};

// Codes below the table's size; where they may be over 127 by way of int8, whose stores saturate on some machines.
LK void store_codes(uint8_t* p, F code, int32_t size) {
  if (size <= 128) return store_i8((int8_t*)p, round_int(code));
  store_i8((int8_t*)p, round_int(sub(code, set1(128.0f))));
  for (int i = 0; i < kLanes; i++) p[i] ^= 0x80;
}
LK void store_first_codes(uint8_t* p, F code, int32_t size, int64_t count) {
  if (count >= kLanes) return store_codes(p, code, size);
  uint8_t last[kLanes];
  store_codes(last, code, size);
  for (int64_t i = 0; i < count; i++) p[i] = last[i];
}

}  // namespace
