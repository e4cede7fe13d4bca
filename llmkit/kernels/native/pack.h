// Weights as files hold them, row by row, into the packed layouts of abi.h. Rounding is GGUF's reference, exactly:
// Q8_0 scale = max|w| / 127, Q4_0 scale = (the largest by magnitude) / -8, both kept as float16. Where a weight is
// infinite or no number, its group's scale is no number.
#pragma once
#include "matmul.h"

namespace {

LK uint16_t half_bits(float value) {  // round to nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &value, 4);
  uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (rest >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
  if (rest < 0x38800000) {  // below the smallest normal: let the adder round to a multiple of 2^-24
    float magnitude;
    memcpy(&magnitude, &rest, 4);
    magnitude += 0.5f;
    memcpy(&rest, &magnitude, 4);
    return (uint16_t)(sign | (rest - 0x3f000000));
  }
  rest += 0xfff + (rest >> 13 & 1);
  return (uint16_t)(sign | (rest - 0x38000000) >> 13);
}

// One group of 32 weights as codes (int8: -128..127, int4: -8..7) and a scale.
static void read_group(const Pack& from, bool four, int64_t row, int64_t c, int64_t cols, int8_t* codes, uint16_t* scale) {
  memset(codes, 0, kGroup);
  *scale = 0;
  if (c >= cols) return;
  int count = (int)(cols - c < kGroup ? cols - c : kGroup);
  const char* data = (const char*)from.data + row * from.stride;
  if (from.type == kCodes8) {
    memcpy(codes, data + c, (size_t)count);
    *scale = from.scales[row * from.scale_stride + c / kGroup];
  } else if (from.type == kBlocksQ8) {
    const char* block = data + c / kGroup * 34;
    memcpy(scale, block, 2);
    memcpy(codes, block + 2, kGroup);
  } else if (from.type == kBlocksQ4) {
    const char* block = data + c / kGroup * 18;
    memcpy(scale, block, 2);
    for (int i = 0; i < 16; i++) {
      uint8_t byte = (uint8_t)block[2 + i];
      codes[i] = (int8_t)((byte & 15) - 8);
      codes[i + 16] = (int8_t)((byte >> 4) - 8);
    }
  } else {
    float x[kGroup];
    F low = load_columns(data, from.type, 0, c, cols), high = load_columns(data, from.type, 0, c + kLanes, cols);
    store(x, low);
    store(x + kLanes, high);
    float most = max_lanes(max(abs(low), abs(high))), nothing = sum_lanes(fma(low, zero(), mul(high, zero())));
    if (nothing != nothing) {
      *scale = 0x7e00;
      return;
    }
    if (four) {
      int at = 0;
      while (at < kGroup - 1 && x[at] != most && x[at] != -most) at++;
      most = x[at];
    }
    float step = four ? most / -8 : most / 127, inverse = most >= kSmallest || most <= -kSmallest ? 1 / step : 0;
    *scale = half_bits(step);
    if (four) {
      for (int i = 0; i < kGroup; i++) {
        int code = (int)((double)x[i] * (double)inverse + 8.5);
        codes[i] = (int8_t)((code > 15 ? 15 : code) - 8);
      }
    } else {
      for (int i = 0; i < kGroup; i++) {  // ties away from zero
        float scaled = x[i] * inverse, whole = (float)(int)scaled, rest = scaled - whole;
        codes[i] = (int8_t)(int)(rest >= 0.5f ? whole + 1 : rest <= -0.5f ? whole - 1 : whole);
      }
    }
  }
}

// 16 rows of 64 bytes become 16 lines of 4 bytes from each row: words move, whatever they are.
LK void transpose_words(const void* rows, void* out) { transpose16((const float*)rows, kLanes, (float*)out, kLanes); }

static void pack_ints(const Pack& from, bool four, int64_t rows, int64_t cols, int64_t block, uint8_t* out) {
  for (int64_t c = 0; c < cols; c += kWideGroup) {
    alignas(64) uint8_t words[kLanes][kWideGroup] = {{0}}, lines[kLanes * kWideGroup];
    uint16_t* scales = (uint16_t*)(out + (four ? 512 : 1024));
    for (int r = 0; r < kLanes; r++) {
      int8_t codes[kWideGroup] = {0};
      int64_t row = block * kLanes + r;
      for (int group = 0; group < 2; group++) {
        uint16_t scale = 0;
        if (row < rows) read_group(from, four, row, c + group * kGroup, cols, codes + group * kGroup, &scale);
        scales[group * kLanes + r] = scale;
      }
      if (four)
        for (int i = 0; i < kGroup; i++) {
          int at = i / 4 * 8 + i % 4;
          words[r][i] = (uint8_t)((codes[at] + 8) | (codes[at + 4] + 8) << 4);
        }
      else
        for (int i = 0; i < kWideGroup; i++) words[r][i] = (uint8_t)(codes[i] + 128);
    }
    transpose_words(words, lines);
    memcpy(out, lines, four ? 512 : 1024);
    out += four ? 576 : 1088;
  }
}

// 16 columns of float32, or 32 of bfloat16, at a time.
static void pack_floats(const Pack& from, bool halves, int64_t rows, int64_t cols, int64_t block, char* out) {
  int64_t step = halves ? 2 * kLanes : kLanes, padded = padded_cols(halves ? kPackedBf16 : kPackedF32, cols);
  for (int64_t c = 0; c < padded; c += step) {
    alignas(64) float words[kLanes * kLanes] = {0}, lines[kLanes * kLanes];
    for (int r = 0; r < kLanes && block * kLanes + r < rows; r++) {
      const char* data = (const char*)from.data + (block * kLanes + r) * from.stride;
      float* line = words + r * kLanes;
      if (!halves) {
        store(line, load_columns(data, from.type, 0, c, cols));
      } else if (from.type == kBfloat16) {
        memcpy(line, data + c * 2, (size_t)(cols - c < step ? cols - c : step) * 2);
      } else {
        float t[2 * kLanes];
        store(t, load_columns(data, from.type, 0, c, cols));
        store(t + kLanes, load_columns(data, from.type, 0, c + kLanes, cols));
        for (int i = 0; i < 2 * kLanes; i++) ((uint16_t*)line)[i] = to_bf16(t[i]);
      }
    }
    transpose_words(words, lines);
    memcpy(out, lines, (size_t)(padded - c < step ? padded - c : step) / (halves ? 2 : 1) * 64);
    out += sizeof(lines);
  }
}

static size_t packed_bytes(const Weight& w) {
  size_t head = w.format == kPackedWidened ? (size_t)widened_layout(w).head : 0;
  return head + block_bytes(w) * (size_t)row_blocks(w.rows);
}

static void pack(Worker& worker, const Pack& from) {
  const Weight& to = from.to;
  size_t bytes = block_bytes(to);
  for (int64_t block; (block = claim(worker, 1)) < row_blocks(to.rows);) {
    char* out = (char*)to.data + block * bytes;
    if (is_integer(to.format))
      pack_ints(from, to.format == kPackedInt4, to.rows, to.cols, block, (uint8_t*)out);
    else
      pack_floats(from, to.format == kPackedBf16, to.rows, to.cols, block, out);
  }
}

}  // namespace
