// Codes with their scales, row by row, into the layouts of abi.h that have codes; and one row back, as numbers.
#pragma once
#include "pack.h"

namespace {

// A part of 16 rows, `size` bytes a number: (rows, count) becomes (count, 16).
static void pack_part(const void* from, int64_t count, int64_t size, int64_t row, int64_t rows, uint8_t* out) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < count; i++)
      memcpy(out + (i * kLanes + r) * size, (const uint8_t*)from + ((row + r) * count + i) * size, (size_t)size);
}

static void pack_block(const CodedRows& from, const Weight& to, const GroupLayout& g, int64_t row, uint8_t* out) {
  bool eight = (to.format & 3) == kEights;
  int64_t rows = from.rows - row < kLanes ? from.rows - row : kLanes, size = g.wide ? 4 : 2;
  memset(out, 0, (size_t)g.bytes);
  uint8_t* place = out;
  for (int64_t c = 0; c < to.cols; c += kWideGroup) {
    alignas(64) uint8_t words[kLanes][kWideGroup] = {{0}}, lines[kLanes * kWideGroup];
    size_t count = (size_t)(to.cols - c < kWideGroup ? to.cols - c : kWideGroup);
    for (int64_t r = 0; r < rows; r++) {
      uint8_t codes[kWideGroup] = {0};
      memcpy(codes, from.codes + (row + r) * to.cols + c, count);
      if (eight) {
        memcpy(words[r], codes, kWideGroup);
      } else {
        for (int i = 0; i < kGroup; i++) {
          int at = i / 4 * 8 + i % 4;
          words[r][i] = (uint8_t)(codes[at] | codes[at + 4] << 4);
        }
      }
    }
    transpose_words(words, lines);
    memcpy(place, lines, eight ? 1024 : 512);
    place += eight ? 1024 : 512;
  }
  int64_t scales = (to.cols + g.group - 1) / g.group;
  pack_part(from.scales, scales, g.span ? 1 : size, row, rows, out + g.scales);
  if (g.based) pack_part(from.bases, scales, g.span ? 1 : size, row, rows, out + g.bases);
  if (!g.span) return;
  int64_t factors = (to.cols + g.span - 1) / g.span;
  pack_part(from.factors, factors, size, row, rows, out + g.factors);
  if (g.based) pack_part(from.base_factors, factors, size, row, rows, out + g.base_factors);
}

static void pack_widened(const CodedRows& from, const Weight& to, const WidenedLayout& g, int64_t row, uint8_t* out) {
  int64_t rows = from.rows - row < kLanes ? from.rows - row : kLanes, size = to.wide ? 4 : 2;
  memset(out, 0, (size_t)g.bytes);
  for (int64_t r = 0; r < rows; r++) {
    const uint8_t* codes = from.codes + (row + r) * to.cols;
    for (int64_t c = 0; c < to.cols; c++)
      if (g.nibbles)
        out[c / 2 * kLanes + r] |= (uint8_t)(codes[c] << (c & 1 ? 4 : 0));
      else
        out[c * kLanes + r] = codes[c];
  }
  int64_t groups = (to.cols + to.group - 1) / to.group;
  pack_part(from.scales, groups, size, row, rows, out + g.scales);
  if (to.kind & kBased) pack_part(from.bases, groups, size, row, rows, out + g.bases);
}

static void pack_widened(Worker& worker, const CodedRows& from, const Weight& to) {
  WidenedLayout g = widened_layout(to);
  if (worker.index == 0 && from.head) memcpy((void*)to.data, from.head, (to.kind & 3) == kFloats ? 64 : (size_t)to.cols * 4);
  for (int64_t block; (block = claim(worker, 1)) < row_blocks(from.rows);)
    pack_widened(from, to, g, block * kLanes, (uint8_t*)to.data + g.head + (from.first / kLanes + block) * g.bytes);
}

static void pack_coded(Worker& worker, const CodedRows& from, const Weight& to) {
  if (to.format == kPackedWidened) return pack_widened(worker, from, to);
  GroupLayout g = group_layout(to);
  for (int64_t block; (block = claim(worker, 1)) < row_blocks(from.rows);)
    pack_block(from, to, g, block * kLanes, (uint8_t*)to.data + (from.first / kLanes + block) * g.bytes);
}

template <int CODES>
static void widened_row(const Weight& w, int64_t row, float* out) {
  WidenedLayout g = widened_layout(w);
  const char* block = (const char*)w.data + g.head + row / kLanes * g.bytes;
  each_column<CODES, 1>(w, g, block, [&](int64_t column, const F* numbers) LK_LAMBDA {
    float lanes[kLanes];
    store(lanes, numbers[0]);
    out[column] = lanes[row % kLanes];
  });
}

static void coded_row(const Weight& w, int64_t row, float* out) {
  if (w.format == kPackedWidened) {
    int kind = w.kind & 3;
    return kind == kE4m3 ? widened_row<kE4m3>(w, row, out)
           : kind == kEights ? widened_row<kEights>(w, row, out)
                             : widened_row<kFloats>(w, row, out);
  }
  GroupLayout g = group_layout(w);
  const uint8_t* block = (const uint8_t*)w.data + row / kLanes * g.bytes;
  int64_t lane = row % kLanes;
  int codes = w.format & 3;
  int middle = codes == kEights ? 128 : codes == kFours && !g.based ? 8 : 0;
  for (int64_t start = 0; start < w.cols; start += g.group) {
    int64_t place = start / g.group, end = start + g.group < w.cols ? start + g.group : w.cols;
    float scale[kLanes], base[kLanes];
    F factor = zero(), base_factor = zero();
    if (g.span) factor = factor_of(block + g.factors, start / g.span, g);
    if (g.span && g.based) base_factor = factor_of(block + g.base_factors, start / g.span, g);
    store(scale, scale_of(block + g.scales, place, g, factor));
    store(base, g.based ? scale_of(block + g.bases, place, g, base_factor) : factor);
    for (int64_t c = start; c < end; c++) {
      int code;
      if (codes == kEights) {
        code = block[c / 4 * 64 + lane * 4 + c % 4];
      } else {
        uint8_t byte = block[c / 8 * 64 + lane * 4 + c % 4];
        code = c & 4 ? byte >> 4 : byte & 15;
      }
      if (codes > kEights) code = kWideTables[g.table][code] - 128;
      float value = scale[lane] * (float)(code - middle);
      out[c] = g.based ? value + base[lane] : value;
    }
  }
}

}  // namespace
