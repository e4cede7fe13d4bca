// What the kernels that put weights on a grid take; llmkit/kernels/quantise.py mirrors these structs.
#pragma once
#include <stdint.h>

// Steps (and bases) of groups of weights that lose least. Group m counts its weights by row m % importance_rows.
enum SearchKind : int32_t { kEven = 0, kEvenWithBase = 1, kTable = 2 };
struct Search {
  const void* weight;       // (groups, width)
  const float* importance;  // (importance_rows, width), or null: all alike
  const float* table;       // (table_size) ascending; kTable, or where codes are asked for
  float* step;              // (groups)
  float* base;              // (groups); kEvenWithBase
  uint8_t* codes;           // (groups, width), of the nearest values; or null
  int64_t groups, width, importance_rows;
  int32_t kind;         // SearchKind
  int32_t type;         // of weights: kFloat32, kBfloat16 or kFloat16
  int32_t low, high;    // the codes; kEvenWithBase: low is 0
  int32_t trials;
  int32_t below_zero;   // kEvenWithBase: no base is above zero
  int32_t table_size;
  int32_t halves;       // steps and bases are to be half-precision numbers
};

// Of each group's whole numbers and those next to them, what loses least: a group's values are
// table[code] * (scale * step_unit) - minimum * base_unit.
struct Neighbours {
  const void* weight;  // as in Search
  const float* importance;
  const float* table;
  const float* step_unit;  // (groups)
  const float* base_unit;  // (groups), or null: no bases
  const float* scale;      // (groups) whole numbers
  const float* minimum;    // (groups), or null
  float* new_scale;
  float* new_minimum;
  float* sums;  // (groups, 6), over q = table[code] and weights x, by importance: lost squares, q, q q, q x, 1, x
  int64_t groups, width, importance_rows;
  int32_t type, table_size;
  int32_t low, high;  // of scales and minima
};

// Blocks of 32 codes as ggml's files have them: float16 d, m where there is one, the fifth bits of Q5_0 and Q5_1, and
// the low four bits of the first 16 codes with those of the last 16 above them; or, of 8 bits, codes - 127.
struct Blocks {
  const uint8_t* codes;  // (count, 32)
  const uint16_t* d;     // (count)
  const uint16_t* m;     // (count), or null
  uint8_t* out;          // (count, bytes of a block)
  int64_t count;
  int32_t bits;          // 4, 5 or 8
};

// The values allowed: table[code] * step + base, a step and a base for each `group` columns of a row.
struct Lattice {
  const float* step;  // (rows, groups)
  const float* base;  // the same, or null: 0
  const float* table; // (table_size) ascending
  int64_t groups;     // of a row
  int32_t group, table_size;
};

// Numbers and their codes: columns first .. first + cols of a lattice's.
struct Coding {
  Lattice lattice;
  float* values;
  uint8_t* codes;
  int64_t rows, cols, values_stride, codes_stride, first;
};

// Some columns rounded one after the other, each error made good in those that follow (GPTQ).
struct Feedback {
  Lattice lattice;
  const float* weight;     // (rows, count), what is wanted by now
  const float* original;   // (rows, count), what errors are counted from; may be weight
  const float* factor;     // (count, count), upper
  const int32_t* columns;  // (count) of the lattice and of `codes`
  float* errors;           // (rows, count), contiguous
  uint8_t* codes;
  int64_t rows, count, weight_stride, original_stride, factor_stride, codes_stride;
};
