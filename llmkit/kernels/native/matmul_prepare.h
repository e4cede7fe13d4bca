// Activations made ready for the product: cut into panels of a few batch rows, column by column, so that the inner
// loop reads them in order; for int8, int4 and grouped weights also quantised, to int8 with one scale for each group of
// 32. Where a number is infinite or none at all, its group's scale is NaN, and so what is computed with it.
//
// A panel of w rows from row b lies at element b * padded_cols (codes), b * groups (scales, zero points) and holds
// [column (or 2, or 4 of them)][row]. Panels' widths depend on the batch and never change a row's result.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

constexpr int kGroup = 32;
constexpr int kGroupedBatch = kIntBatch < 8 ? kIntBatch : 8;  // fewer tiles to compile; more batch rows gain little
constexpr int kWideGroup = 64;  // columns in a unit of packed integers: two groups, then their scales

LK bool is_integer(int32_t format) { return format >= kPackedInt8 && format != kPackedWidened; }
LK int pieces_of(int32_t format) { return format >= kGrouped && (format & kHalves) ? 2 : 1; }  // of a group of 32

// What is added to codes so that none is negative, where the dot product wants it.
LK int32_t zero_point(int32_t format) {
  bool four = format == kPackedInt4 || (format >= kGrouped && (format & 3) == kFours);
  if (four) return format >= kGrouped && (format & kBases) ? 0 : 8;
  return kSignedDot8 ? 0 : 128;
}
LK int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }
LK int64_t padded_cols(int32_t format, int64_t cols) {
  return is_integer(format) ? round_up(cols, kWideGroup) : format == kPackedBf16 ? round_up(cols, 2) : cols;
}

// Full panels as even as the batch allows, up to what the registers hold.
LK int64_t panel_width(int32_t format, int64_t batch) {
  int64_t most = format >= kGrouped ? kGroupedBatch : is_integer(format) ? kIntBatch : kFloatBatch;
  int64_t panels = (batch + most - 1) / most;
  return panels <= 2 ? (batch + panels - 1) / panels : most;
}

static size_t prepared_bytes(int32_t format, int64_t batch, int64_t cols) {
  size_t values = (size_t)batch * (size_t)padded_cols(format, cols);
  if (!is_integer(format)) return values * 4 + 64;
  return values + values / kGroup * (4 + 8 * (size_t)pieces_of(format)) + 256;
}

static Prepared lay_out(int32_t format, int64_t batch, int64_t cols, char* memory) {
  Prepared p = {};
  p.format = format;
  p.batch = batch;
  p.cols = padded_cols(format, cols);
  p.width = panel_width(format, batch);
  if (!is_integer(format)) {
    p.values = (float*)memory;
    return p;
  }
  int64_t groups = batch * (p.cols / kGroup);
  p.scales = (float*)memory;
  int64_t part = round_up(groups * 4, 64), sums = round_up(groups * 4 * pieces_of(format), 64);
  p.zeros = (int32_t*)(memory + part);
  p.sums = (float*)(memory + part + sums);
  p.codes = (int8_t*)(memory + part + 2 * sums);
  return p;
}

// Columns c .. c + 16 of one row, zeros beyond the row's end.
LK F load_columns(const void* x, int32_t type, int64_t at, int64_t c, int64_t cols) {
  return c >= cols ? zero() : load_first_as(x, type, at + c, cols - c);
}

// Columns from .. to of a panel of `width` rows, 16 columns at a time through a transposed square.
static void prepare_floats(const Prepared& p, int32_t type, const void* x, int64_t ldx, int64_t panel, int64_t width,
                           int64_t from, int64_t to, int64_t cols) {
  float* out = p.values + panel * p.cols;
  if (width == 1) {
    for (int64_t c = from; c < to; c += kLanes)
      store_first(out + c, load_columns(x, type, panel * ldx, c, cols), to - c);
    return;
  }
  alignas(64) float rows[kLanes * kLanes] = {0}, square[kLanes * kLanes];
  float* end = out + to * width;
  for (int64_t c = from; c < to; c += kLanes) {
    for (int64_t r = 0; r < width; r++) store(rows + r * kLanes, load_columns(x, type, (panel + r) * ldx, c, cols));
    transpose16(rows, kLanes, square, kLanes);
    float* place = out + c * width;
    for (int64_t i = 0; i < kLanes && c + i < to; i++, place += width)  // each store's excess is the next one's place
      store_first(place, load(square + i * kLanes), place + kLanes <= end ? kLanes : width);
  }
}

static void prepare_pairs(const Prepared& p, int32_t type, const void* x, int64_t ldx, int64_t panel, int64_t width,
                          int64_t from, int64_t to, int64_t cols) {
  uint32_t* out = (uint32_t*)p.values + panel * p.cols / 2;
  for (int64_t r = 0; r < width; r++)
    for (int64_t c = from; c < to; c += kLanes) {
      float t[kLanes];
      store(t, load_columns(x, type, (panel + r) * ldx, c, cols));
      for (int i = 0; i < kLanes && c + i < to; i += 2)
        out[(c + i) / 2 * width + r] = (uint32_t)to_bf16(t[i]) | (uint32_t)to_bf16(t[i + 1]) << 16;
    }
}

static void prepare_codes(const Prepared& p, int32_t type, const void* x, int64_t ldx, int64_t panel, int64_t width,
                          int64_t from, int64_t to, int64_t cols) {
  int64_t groups = p.cols / kGroup;
  int32_t middle = zero_point(p.format);
  int pieces = pieces_of(p.format);
  for (int64_t c = from; c < to; c += kGroup)
    for (int64_t r = 0; r < width; r++) {
      F a = load_columns(x, type, (panel + r) * ldx, c, cols);
      F b = load_columns(x, type, (panel + r) * ldx, c + kLanes, cols);
      float most = max_lanes(max(abs(a), abs(b))), nothing = sum_lanes(fma(a, zero(), mul(b, zero())));
      if (nothing != nothing) a = b = zero();
      F inverse = set1(nothing == nothing && most >= kSmallest ? 127.0f / most : 0.0f);
      I ia = round_int(mul(a, inverse)), ib = round_int(mul(b, inverse));
      alignas(64) int8_t t[kGroup];
      store_i8(t, ia);
      store_i8(t + kLanes, ib);
      int64_t place = panel * groups + c / kGroup * width + r;
      p.scales[place] = nothing == nothing ? most / 127.0f : nothing;
      if (pieces == 2) {
        int64_t first = (panel * groups + c / kGroup * width) * 2 + r;
        int32_t a_sum = sum_lanes_int(ia), b_sum = sum_lanes_int(ib);
        p.zeros[first] = -middle * a_sum, p.zeros[first + width] = -middle * b_sum;
        p.sums[first] = p.scales[place] * (float)a_sum, p.sums[first + width] = p.scales[place] * (float)b_sum;
      } else {
        int32_t sum = sum_lanes_int(add_int(ia, ib));
        p.zeros[place] = -middle * sum;
        p.sums[place] = p.scales[place] * (float)sum;
      }
      char* out = (char*)p.codes + panel * p.cols + c * width + r * 4;
      LK_UNROLL for (int i = 0; i < kGroup / 4; i++) memcpy(out + i * width * 4, t + i * 4, 4);
    }
}

// Prepare rows of x (stride `ldx` elements) for weights of `cols` columns. Ends without a barrier.
static void prepare(Worker& worker, const Prepared& p, int32_t type, const void* x, int64_t ldx, int64_t cols) {
  constexpr int64_t kPiece = 512;  // columns in one claimed piece, a multiple of every group
  int64_t pieces = (p.cols + kPiece - 1) / kPiece, panels = (p.batch + p.width - 1) / p.width;
  for (int64_t task; (task = claim(worker, 1)) < panels * pieces;) {
    int64_t panel = task / pieces * p.width;
    int64_t width = p.batch - panel < p.width ? p.batch - panel : p.width;
    int64_t from = task % pieces * kPiece, to = from + kPiece < p.cols ? from + kPiece : p.cols;
    if (is_integer(p.format))
      prepare_codes(p, type, x, ldx, panel, width, from, to, cols);
    else if (kBf16Dot && p.format == kPackedBf16)
      prepare_pairs(p, type, x, ldx, panel, width, from, to, cols);
    else
      prepare_floats(p, type, x, ldx, panel, width, from, to, cols);
  }
}

}  // namespace
