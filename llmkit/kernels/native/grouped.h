// Where the parts of a grouped weight lie within a block of 16 rows: abi.h says what they are.
#pragma once
#include "abi.h"

namespace {

struct GroupLayout {
  int64_t group;                                // columns that share a scale
  int64_t span;                                 // columns that share a factor; 0: there are none
  int64_t scales, bases, factors, base_factors;  // offsets
  int64_t bytes;
  int32_t table;  // which, where codes are places in one
  bool wide, based;
};

inline __attribute__((always_inline)) GroupLayout group_layout(const Weight& w) {
  int64_t cols = (w.cols + 63) / 64 * 64, at = 0;
  GroupLayout g;
  g.table = (w.format & 3) == kTableE2m1;
  g.group = w.group, g.span = w.span, g.wide = w.wide != 0, g.based = (w.format & kBases) != 0;
  auto take = [&](int64_t bytes) {
    int64_t here = at;
    at += (bytes + 63) / 64 * 64;
    return here;
  };
  int64_t numbers = g.wide ? 4 : 2, lanes = 16;
  int64_t scales = (cols + g.group - 1) / g.group * lanes * (g.span ? 1 : numbers);
  int64_t factors = g.span ? (cols + g.span - 1) / g.span * lanes * numbers : 0;
  take(cols * lanes / ((w.format & 3) == kEights ? 1 : 2));  // codes come first
  g.scales = take(scales);
  g.bases = take(g.based ? scales : 0);
  g.factors = take(factors);
  g.base_factors = take(g.based ? factors : 0);
  g.bytes = at;
  return g;
}

}  // namespace
