// What a level offers, and the arguments of each kernel.
#pragma once
#include "abi.h"
#include "learn.h"
#include "pool.h"
#include "quantise.h"
#include "state.h"

struct Pack {
  const void* data;
  const uint16_t* scales;  // kCodes8: one float16 for each group of 32
  int64_t stride;          // bytes from row to row
  int64_t scale_stride;    // scales from row to row
  int32_t type;            // ValueType
  Weight to;
};

// Activations made ready for weights of one format: see matmul_prepare.h. Several products may share them.
struct Prepared {
  int32_t format;
  int64_t batch;
  int64_t cols;    // padded
  int64_t width;   // rows of a full panel
  float* values;   // F32, Bf16 and widened weights; pairs of bfloat16 where the machine multiplies those
  int8_t* codes;   // Int8, Int4 and grouped weights
  float* scales;
  int32_t* zeros;  // -zero point * sum of codes: where the integer accumulators start
  float* sums;     // grouped weights: scale * sum of codes, what a base is multiplied with
};

// Where a product goes: y[b * stride + n], starting from bias[n] and, when accumulating, from what y holds.
struct Output {
  float* y;
  int64_t stride;
  const float* bias;  // or null
  bool accumulate;
};

struct RmsNorm {
  const float* x;
  const float* weight;  // (cols), or null for ones
  float* out;           // may be x
  int64_t rows, cols, x_stride, out_stride;
  float epsilon, offset;  // the factor is offset + weight: Gemma's 1, others' 0
};

struct Rotary {
  float* x;             // (rows, heads, head_dim), rotated in place
  const float* cosine;  // (positions, rotary_dim / 2)
  const float* sine;
  const int32_t* positions;  // (rows)
  int64_t rows, x_stride;
  int32_t heads, head_dim, rotary_dim;
};

enum Activation : int32_t {
  kSilu = 0, kGeluTanh = 1, kGelu = 2, kRelu = 3, kReluSquared = 4, kClampedSwiglu = 5, kXielu = 6, kLogistic = 7
};

struct Gated {
  const float* gate;
  const float* up;  // null: no product, activation(gate) alone
  float* out;       // may be gate or up
  int64_t rows, cols, gate_stride, up_stride, out_stride;
  int32_t activation;
  float limit;         // kClampedSwiglu: no gate above it, and no up beyond it
  const float* curve;  // kXielu, and null for others: (4) the square's factor, the exponential's, the line's slope, and its end near 0
};

struct LayerNorm {
  const float* x;
  const float* weight;  // (cols)
  const float* bias;    // (cols), or null
  float* out;           // may be x
  int64_t rows, cols, stride;
  float epsilon;
};

// out = scale * (sum of weighted rows + extra), onto what `out` holds where it accumulates.
struct Join {
  const float* values;    // (places, cols)
  const int32_t* places;  // (rows, per_row) in values
  const float* weights;   // (rows, per_row)
  const float* extra;     // (rows, cols), or null
  const float* gates;     // one for each row, extra counts sigmoid of it; or null
  float* out;             // (rows, cols)
  int64_t rows, cols, gate_stride;
  int32_t per_row;
  float scale;
  bool accumulate;
};

// x = cap * tanh(scale * x / cap), or scale * x where cap is 0.
struct Cap {
  float* x;
  int64_t count;
  float scale, cap;
};

// Rows of new keys or values, (rows, heads, head_dim), into memory: heads side by side, of a type.
struct Keep {
  const float* from;
  void* to;
  float* scales;          // kCodes8 only: codes times these, one for each head, are the numbers
  const int32_t* places;  // (rows) positions that they go to
  int64_t rows;
  int32_t heads, head_dim, type;  // kFloat32, kBfloat16 or kCodes8
  int64_t stride, scale_stride;   // in memory from one position to the next, of numbers and of scales
};

// What an adapter adds to one product y = W x + bias: b (a x); with factors y is factors * W x + b (a x) + bias.
struct LowRank {
  const float* a;        // (rank, inputs); null: nothing is added here
  const float* b;        // (rank, outputs), the adapter's scale counted in
  const float* factors;  // (outputs) of DoRA, or null
  int64_t rank;
};

struct Product {
  float* y;  // (rows, width), `stride` from row to row
  int64_t stride, width;
  const float* bias;  // that it holds, or null
};

// Additions to up to three products of the same rows, each text's by its own adapter.
struct Adapted {
  const float* x;  // (rows, cols)
  float* inner;    // (rows, num_products, most_rank)
  const LowRank* const* adapters;  // (num_texts), each from its first addition on; null: the text has none
  const int32_t* query_start;      // (num_texts + 1)
  const float* before;             // what y of the one product held before the product was added to it, or null
  int64_t rows, cols, x_stride;
  int64_t first;  // which of an adapter's additions is the first product's
  int32_t num_texts, most_rank, num_products;
  Product products[3];
};

// An addition to one row of a head: y += out^T (in x). Rows of `in` and `out` stand so far apart.
struct LowRankRow {
  const float *x, *in, *out;  // (cols), (rank, cols), (rank, count)
  float* y;                   // (count)
  int64_t cols, in_stride, out_stride, count, rank;
};

struct ReadMemory {
  const char* data;  // aligned to 64 bytes
  int64_t bytes;     // a multiple of 64
  uint32_t sum;      // of all its words, so that the reads happen
};

// All functions run inside a region, by every worker of the team, and none ends with a barrier: that is for the caller,
// who knows what comes next. So a step of a whole model is one region of such calls.
struct Kernels {
  const char* name;
  size_t (*packed_bytes)(const Weight&);
  void (*pack)(Worker&, const Pack&);
  void (*pack_coded)(Worker&, const CodedRows&, const Weight& to);
  void (*coded_row)(const Weight&, int64_t row, float* out);  // of a grouped weight, as numbers
  // prepare x (rows of stride x_stride), then after a barrier multiply; `memory`: multiply_bytes() for each worker.
  size_t (*prepared_bytes)(int32_t format, int64_t batch, int64_t cols);
  Prepared (*lay_out)(int32_t format, int64_t batch, int64_t cols, char* memory);
  void (*prepare)(Worker&, const Prepared&, int32_t x_type, const void* x, int64_t x_stride, int64_t cols);
  size_t (*multiply_bytes)();
  void (*multiply)(Worker&, const Weight&, const Prepared&, const Output&, char* memory);
  void (*rms_norm)(Worker&, const RmsNorm&);
  void (*rotary)(Worker&, const Rotary&);
  void (*gated)(Worker&, const Gated&);
  void (*layer_norm)(Worker&, const LayerNorm&);
  void (*join)(Worker&, const Join&);
  void (*cap)(Worker&, const Cap&);
  void (*keep)(Worker&, const Keep&);
  void (*convolve)(Worker&, const Convolve&);
  void (*delta_ready)(Worker&, const DeltaRule&);  // then, after a barrier, the rule
  void (*delta_rule)(Worker&, const DeltaRule&);
  void (*space_ready)(Worker&, const StateSpace&);  // then, after a barrier, the space; beside others, as it claims nothing
  void (*state_space)(Worker&, const StateSpace&);
  void (*gated_norm)(Worker&, const GatedNorm&);
  void (*low_rank_in)(Worker&, const Adapted&);  // then, after a barrier, out
  void (*low_rank_out)(Worker&, const Adapted&);
  void (*low_rank_row)(const LowRankRow&);  // the caller's own, whoever else is at work
  size_t (*attention_partial_bytes)(const Attention&);
  size_t (*attention_tile_bytes)(const Attention&);
  // `partial` is the team's, `memory` the worker's own. Holds one barrier where a long context is shared out.
  void (*attend)(Worker&, const Attention&, float* partial, char* memory);
  Scratch (*learn_scratch)(const LearntAttention&);
  void (*learn_attention)(Worker&, const LearntAttention&, char* shared);
  void (*cross_entropy)(Worker&, const CrossEntropy&);
  void (*learn_gate)(Worker&, const LearntGate&);
  void (*learn_rotation)(Worker&, const LearntRotation&);
  void (*read_memory)(Worker&, ReadMemory&);
  // `memory`: so many bytes for each worker.
  size_t (*groups_bytes)(int64_t width);
  void (*search)(Worker&, const Search&, char* memory);
  void (*neighbours)(Worker&, const Neighbours&, char* memory);
  void (*nearest_codes)(Worker&, const Coding&);  // values to codes
  void (*code_values)(Worker&, const Coding&);    // and back
  size_t (*feedback_bytes)(const Feedback&);
  void (*feedback)(Worker&, const Feedback&, char* memory);
};

// Levels this library was built with; the others are null.
extern const Kernels* (*const portable_level)();
extern const Kernels* (*const avx2_level)();
extern const Kernels* (*const avx512_level)();
extern const Kernels* (*const avx512bf16_level)();
extern const Kernels* (*const neon_level)();

// The best level the machine runs (or the one LLMKIT_KERNELS names, for tests); null where it names none.
const Kernels* kernels();
