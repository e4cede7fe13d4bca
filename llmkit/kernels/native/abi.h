// What crosses the border between Python (ctypes) and the library: plain numbers, addresses, and the structs here and
// in forward.h, learn.h, quantise.h and text.h; kAbiVersion changes with any of them.
#pragma once
#include <stdint.h>

#define LLMKIT_API extern "C" __attribute__((visibility("default")))

constexpr int32_t kAbiVersion = 20;

// Values in memory: weights before packing, activations, cached keys and values.
enum ValueType : int32_t {
  kFloat32 = 0,
  kBfloat16 = 1,
  kFloat16 = 2,
  kCodes8 = 3,    // int8 codes and, elsewhere, their scales
  kBlocksQ8 = 4,  // GGUF Q8_0: 34 bytes for 32 weights
  kBlocksQ4 = 5,  // GGUF Q4_0: 18 bytes for 32 weights
  kCoded = 6,     // a Weight in a grouped format: only the rows of embeddings
};

// Packed weights. All hold blocks of 16 output rows, so that one vector holds one column (or 2, or 4) of 16 rows.
//   kPackedF32   [rows/16][cols][16] float32
//   kPackedBf16  [rows/16][cols/2][16][2] bfloat16
//   kPackedInt8  [rows/16][cols/64] { 2 groups x [8][16][4] uint8 = code + 128;  2 x [16] float16 scales }
//   kPackedInt4  [rows/16][cols/64] { 2 groups x [4][16][4] bytes, low nibble column c, high nibble c + 4,
//                                     nibble = code + 8;  2 x [16] float16 scales }
// Rows are padded with zeros to 16, columns to 1, 2, 64, 64.
//   grouped      [rows/16] { codes [cols/32] lines as above;  scales [cols/group][16];  bases as the scales;
//                            factors [cols/span][16];  base factors as the factors }, each part padded to 64 bytes
// Rows are padded to 16 and columns to 64 in grouped ones too. Their format is kGrouped and these bits:
//   what codes are: kFours (nibble = code + 8, or the code itself where there are bases), kEights (code + 128), or
//   places in a table; kHalves: groups of 16 columns, otherwise of a multiple of 32; kBases: there are bases.
// A weight is scale * code + base. Scales and bases are float16 (float32 where `wide`), or, where there is a span, int8
// times a factor, which is then the float.
//   kPackedWidened head; [rows/16] { codes [cols][16], or [cols/2][16] with the even column in the low nibble;
//                                    scales [cols/group][16];  bases as the scales }, each part padded to 64 bytes
// Codes whose numbers are no small whole ones, or whose columns lie in another order: made into float32 in registers.
// What codes are stands in `kind`: kFours and kEights as above, kFloats: places in a table of 16 float32, the head;
// kE4m3: floats of 8 bits; kScattered: columns stand group by group, the head says which each is, int32; kBased.
enum PackedFormat : int32_t {
  kPackedF32 = 0, kPackedBf16 = 1, kPackedInt8 = 2, kPackedInt4 = 3, kPackedWidened = 4, kGrouped = 16
};
enum WidenedBits : int32_t { kFloats = 2, kE4m3 = 3, kScattered = 4, kBased = 8 };
enum GroupedBits : int32_t { kFours = 0, kEights = 1, kTableIq4 = 2, kTableE2m1 = 3, kHalves = 4, kBases = 8 };

// A packed matrix W of a product y = x W^T. `data` is aligned to 64 bytes.
struct Weight {
  int32_t format;
  int32_t group;  // grouped formats: columns that share a scale
  int64_t rows;   // outputs
  int64_t cols;   // inputs
  const void* data;
  int32_t span;  // grouped formats: columns that share a factor; 0: none
  int32_t wide;  // float32 rather than float16
  int32_t kind;  // kPackedWidened: what codes are
};

// Rows of a grouped weight before they are packed: a byte for each code, parts in rows.
struct CodedRows {
  const uint8_t* codes;  // (rows, cols)
  const void *scales, *bases;           // (rows, ceil(cols / group)); no bases: null
  const void *factors, *base_factors;  // (rows, ceil(cols / span)); or null
  int64_t first, rows;                  // where they go, a multiple of 16; how many
  const void* head;                     // kPackedWidened: what all rows have in common, or null
};

// Causal attention of new positions over a cache. B sequences, H query heads, K key/value heads, E head_dim.
// Strides count elements (of the cache's type for k and v, float32 elsewhere). Sequence b owns the query rows
// query_start[b] .. query_start[b+1]; its last one sees lengths[b] cached positions, the one before it one fewer, ...
struct Attention {
  const float* q;  // (rows, H, key_dim)
  float* out;      // (rows, H, value_dim)
  const void* k;
  const void* v;
  const float* k_scale;  // kCodes8 only: one scale for each cached position and key/value head
  const float* v_scale;
  const int32_t* block_table;  // (B, table_stride) numbers of blocks, or null: sequence b is block b
  const int32_t* query_start;  // (B + 1), or null: one query row for each sequence
  const int32_t* lengths;      // (B) cached positions, the new ones included
  const float* sinks;          // (H) logits that take part in the softmax and carry no value, or null
  int64_t q_stride, out_stride;
  int64_t k_block, k_token, k_head;
  int64_t v_block, v_token, v_head;
  int64_t scale_block, scale_token, scale_head;
  int64_t table_stride;
  int32_t kv_type;  // kFloat32, kBfloat16 or kCodes8
  int32_t block_size;
  int32_t sequences, heads, kv_heads, key_dim, value_dim;
  int32_t window;  // a query sees this many positions at most, itself included; 0: all
  int32_t chunked;  // windows stand side by side, and a query sees its own from its beginning on
  float scale;
  float softcap;  // scores become softcap * tanh(score / softcap); 0: off
};
