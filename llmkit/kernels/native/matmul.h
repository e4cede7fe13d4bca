// y = x W^T for packed W: who computes which tile, and in what order, so that weights stream from memory once for a
// small batch, and both weights and activations are met again in the caches for a large one.
#pragma once
#include "matmul_grouped.h"
#include "matmul_widened.h"

namespace {

constexpr int64_t kDepth = 512;       // columns of a float tile's panel kept in the first-level cache
constexpr int64_t kManyRows = 24;     // from here on bfloat16 weights are widened once for many batch rows
constexpr int64_t kBatchBlock = 240;  // batch rows between which a block of weights stays in the second-level cache

LK size_t block_bytes(const Weight& w) {
  int32_t format = w.format;
  int64_t padded = padded_cols(format, w.cols);
  if (format >= kGrouped) return (size_t)group_layout(w).bytes;
  if (format == kPackedWidened) return (size_t)widened_layout(w).bytes;
  if (format == kPackedF32) return (size_t)padded * 64;
  if (format == kPackedBf16) return (size_t)padded * 32;
  return (size_t)(padded / kWideGroup) * (format == kPackedInt8 ? 1088 : 576);
}

LK int64_t row_blocks(int64_t rows) { return (rows + kLanes - 1) / kLanes; }

// Memory a worker needs of its own while multiplying.
static size_t multiply_bytes() { return (size_t)kFloatRows * kDepth * 64; }

LK int64_t panel_rows(const Prepared& p, int64_t b) { return p.batch - b < p.width ? p.batch - b : p.width; }

// tile(block, count, b, width): `count` blocks of rows, up to PAIR, by a panel of `width` batch rows from b on, one block
// where it is one row; streams(block): kStreams blocks by the one batch row.
template <int PAIR, class Tile, class Streams>
LK void multiply_blocks(Worker& worker, const Weight& w, const Prepared& p, Tile tile, Streams streams) {
  size_t bytes = block_bytes(w);
  int64_t blocks = row_blocks(w.rows);
  // As many blocks as stay in the second-level cache while panels pass, but enough pieces for every thread.
  int64_t group = (int64_t)(262144 / bytes), fair = blocks / (worker.size * 4);
  group = group > fair ? fair : group;
  group = p.batch == 1 ? group / kStreams * kStreams : group / PAIR * PAIR;
  group = group < PAIR ? PAIR : group;
  auto pair = [&](int64_t block, int64_t last, int64_t b) LK_LAMBDA {
    int64_t width = panel_rows(p, b);
    if (width > 1) return tile(block, last - block < PAIR ? last - block : PAIR, b, width);
    for (int64_t end = block + PAIR < last ? block + PAIR : last; block < end; block++) tile(block, 1, b, 1);
  };
  for (int64_t first; (first = claim(worker, group)) < blocks;) {
    int64_t last = first + group < blocks ? first + group : blocks;
    if (p.batch == 1) {
      int64_t block = first;
      for (; block + kStreams <= last; block += kStreams) streams(block);
      for (; block < last; block++) tile(block, 1, 0, 1);
    } else if (p.batch <= p.width * 2) {  // weights once from memory, each block for both panels
      for (int64_t block = first; block < last; block += PAIR)
        for (int64_t b = 0; b < p.batch; b += p.width) pair(block, last, b);
    } else {
      for (int64_t b = 0; b < p.batch; b += p.width)
        for (int64_t block = first; block < last; block += PAIR) pair(block, last, b);
    }
  }
}

static void multiply_ints(Worker& worker, const Weight& w, const Prepared& p, const Output& out) {
  size_t bytes = block_bytes(w);
  const IntTile* table = w.format == kPackedInt4 ? tiles.int4 : tiles.int8;
  IntTile streams = w.format == kPackedInt4 ? tiles.int4_streams : tiles.int8_streams;
  const uint8_t* data = (const uint8_t*)w.data;
  multiply_blocks<kPair>(
      worker, w, p,
      [&](int64_t block, int64_t count, int64_t b, int64_t width) LK_LAMBDA {
        table[width - 1](data + block * bytes, count > 1 ? bytes : 0, p, out, b, block * kLanes, w.rows);
      },
      [&](int64_t block) LK_LAMBDA { streams(data + block * bytes, bytes, p, out, 0, block * kLanes, w.rows); });
}

static void multiply_grouped(Worker& worker, const Weight& w, const Prepared& p, const Output& out) {
  GroupLayout g = group_layout(w);
  const GroupedTile* table = grouped_tiles.each[kind_of(w.format)];
  GroupedTile streams = grouped_tiles.streams[kind_of(w.format)];
  const uint8_t* data = (const uint8_t*)w.data;
  multiply_blocks<1>(
      worker, w, p,
      [&](int64_t block, int64_t, int64_t b, int64_t width) LK_LAMBDA {
        table[width - 1](data + block * g.bytes, g, p, out, b, block * kLanes, w.rows);
      },
      [&](int64_t block) LK_LAMBDA {
        for (int64_t end = block + kStreams; block < end; block += kGroupedStreams)
          streams(data + block * g.bytes, g, p, out, 0, block * kLanes, w.rows);
      });
}

static void multiply_widened(Worker& worker, const Weight& w, const Prepared& p, const Output& out) {
  WidenedLayout g = widened_layout(w);
  const WidenedTile* table = widened_tiles.each[w.kind & 3];
  WidenedTile streams = widened_tiles.streams[w.kind & 3];
  const char* data = (const char*)w.data + g.head;
  multiply_blocks<1>(
      worker, w, p,
      [&](int64_t block, int64_t, int64_t b, int64_t width) LK_LAMBDA {
        table[width - 1](w, g, data + block * g.bytes, p, out, b, block * kLanes);
      },
      [&](int64_t block) LK_LAMBDA {
        for (int64_t end = block + kStreams; block < end; block += kGroupedStreams)
          streams(w, g, data + block * g.bytes, p, out, 0, block * kLanes);
      });
}

// Columns from .. to of `count` blocks of bfloat16, widened to the layout of float32 weights.
static void widen(const char* w, size_t bytes, int64_t count, int64_t from, int64_t to, float* out, size_t stride) {
  for (int64_t r = 0; r < count; r++) {
    float* row = out + r * (stride / 4);
    for (int64_t c = from; c < to; c += 2, row += 2 * kLanes) {
      I pair = load_int(w + r * bytes + c * 32);
      store(row, even_bf16(pair));
      store(row + kLanes, odd_bf16(pair));
    }
  }
}

static void multiply_floats(Worker& worker, const Weight& w, const Prepared& p, const Output& out, float* memory) {
  bool halves = w.format == kPackedBf16, pairs = halves && kBf16Dot;
  bool wide = halves && !pairs && p.batch >= kManyRows;
  size_t bytes = block_bytes(w), column = halves ? 32 : 64;
  int64_t blocks = row_blocks(w.rows), depth = p.batch > p.width ? kDepth : p.cols;
  FloatTile(*table)[kFloatBatch] = halves && !wide ? tiles.bf16 : tiles.f32;
  int64_t pieces = (blocks + kFloatRows - 1) / kFloatRows;
  int64_t parts = (p.batch + kBatchBlock - 1) / kBatchBlock;
  for (int64_t task; (task = claim(worker, 1)) < pieces * parts;) {
    int64_t first = task / parts * kFloatRows, count = blocks - first < kFloatRows ? blocks - first : kFloatRows;
    int64_t top = task % parts * kBatchBlock, end = top + kBatchBlock < p.batch ? top + kBatchBlock : p.batch;
    const char* data = (const char*)w.data + first * bytes;
    for (int64_t from = 0; from < p.cols; from += depth) {
      int64_t to = from + depth < p.cols ? from + depth : p.cols;
      Output onto = out;
      if (from) onto = Output{out.y, out.stride, nullptr, true};  // go on from what the columns before gave
      if (wide) widen(data, bytes, count, from, to, memory, kDepth * 64);
      for (int64_t b = top; b < end; b += p.width) {
        int64_t width = panel_rows(p, b), steps = halves && !wide ? (to - from) / 2 : to - from;
        const float* x = p.values + (pairs ? (b * p.cols + from * width) / 2 : b * p.cols + from * width);
        const char* tile = wide ? (const char*)memory : data + from * column;
        table[count - 1][width - 1](tile, wide ? kDepth * 64 : bytes, x, steps, onto, b, first * kLanes, w.rows);
      }
    }
  }
}

// The product of prepared activations. `memory`: multiply_bytes() for this worker. Ends without a barrier.
static void multiply(Worker& worker, const Weight& w, const Prepared& p, const Output& out, char* memory) {
  if (w.format >= kGrouped)
    multiply_grouped(worker, w, p, out);
  else if (w.format == kPackedWidened)
    multiply_widened(worker, w, p, out);
  else if (is_integer(w.format))
    multiply_ints(worker, w, p, out);
  else
    multiply_floats(worker, w, p, out, (float*)memory);
}

}  // namespace
