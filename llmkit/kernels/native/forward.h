// A whole model in one call: what crosses the border for it. llmkit/kernels/forward.py mirrors these structs.
#pragma once
#include "kernels.h"

// One layer of the llama family: norms before, grouped queries, rotary positions, a gated MLP. Vectors are float32;
// a null one is absent.
struct Layer {
  const float *input_norm, *mlp_norm;
  const float *q_norm, *k_norm;  // (head_dim)
  Weight q, k, v, o, gate_up, down;  // gate_up: the gate's rows, then up's
  const float *q_bias, *k_bias, *v_bias, *o_bias, *gate_up_bias, *down_bias;
};

// D hidden, H heads, K kv_heads, E head_dim, F intermediate, V vocabulary.
struct Model {
  const Layer* layers;
  const float* last_norm;
  Weight head;
  int32_t num_layers, hidden, heads, kv_heads, head_dim, rotary_dim, intermediate, vocabulary;
  int32_t activation;
  float epsilon, scale;
};

// New positions of some texts, text after text, and the memory of keys and values. Everything is N long unless said.
struct Pass {
  float* x;                    // (N, D) embeddings; overwritten
  const int32_t* positions;    // in their texts
  const int64_t* places;       // in memory, where their keys and values go
  const float *cosine, *sine;  // (positions, rotary_dim / 2)
  void* const* keys;           // one a layer: (positions of all texts, K, E) of kv_type
  void* const* values;
  const int32_t* block_table;  // (texts, table_stride)
  const int32_t* query_start;  // (texts + 1)
  const int32_t* lengths;      // (texts) positions with the new ones
  const int32_t* wanted;       // (num_wanted) positions to be scored
  float* logits;               // (num_wanted, V)
  int64_t table_stride;
  int32_t tokens, texts, num_wanted, kv_type, block_size;
};
