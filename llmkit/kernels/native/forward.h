// A whole model in one call: what crosses the border for it. llmkit/kernels/forward_structs.py mirrors these structs.
#pragma once
#include "kernels.h"

// N new positions, D hidden, H heads, K kv_heads, E head_dim, F intermediate, X experts, V vocabulary.
// Vectors are float32; a null one is absent.

struct Norm {
  const float* weight;  // null: no norm here
  const float* bias;    // LayerNorm's, or null
};

enum NormKind : int32_t { kRmsNorm = 0, kLayerNorm = 1 };

// What the MLP reads: the stream with attention's branch joined; the stream before it, through a norm of its own; or
// the same rows that attention reads.
enum Residual : int32_t { kSerial = 0, kParallel = 1, kParallelOneNorm = 2 };

enum Scoring : int32_t { kSoftmax = 0, kSigmoid = 1 };

// A mixture of experts in place of the MLP: each token goes to per_token of num_experts, chosen in float32.
struct Experts {
  Weight router;                                  // (X, D); with a shared gate its row comes last
  const float* router_bias;                       // as long as the router has rows
  const float* selection_bias;                    // (X) counts for choosing, not for weighing
  const Weight *gate_up, *down;                   // (X) of (2F, D), (F, D) in a model without gates, and of (D, F)
  const float *gate_up_bias, *down_bias;          // (X, 2F), (X, D)
  Weight shared_gate_up, shared_down;             // of the expert that every token uses
  const float *shared_gate_up_bias, *shared_down_bias;
  int32_t num_experts, per_token, intermediate;
  int32_t shared_intermediate;                    // 0: no shared expert
  int32_t shared_gate;                            // the shared expert counts sigmoid of the router's last row
  int32_t scoring, normalised, num_groups, top_groups, group_scores;  // group_scores: best ones that make a group's
  int32_t activation;
  int32_t weighs_inputs;                          // weights multiply what experts read; chosen by logits
  // The shared expert is the layer's MLP; router and experts read the stream, each through a norm, and what MLP and
  // experts give goes through one each (Gemma 4). Without a weight: they read what the layer's norm gives.
  Norm before_router, before_experts, after_shared, after_experts;
  const float* expert_scales;                     // (X) of weights, or null
  float scaling, limit;
};

// What a layer has in place of attention where it keeps a state of fixed size for each text: a short convolution between
// two gates (LFM2), or the gated delta rule or Mamba-2's state space behind a convolution (W value heads of Y numbers, G
// key heads, or groups of heads, of X). `o` is its last product. A text's state is (kernel - 1, channels), then, from the
// next whole 16 on, the matrices of the rule or the space.
struct State {
  Weight inputs;                  // (3 channels, D): two gates' and x's; or (channels, D): queries, keys, values; or
                                  // (W Y + channels + W, D): gates, values with keys and queries, and steps
  Weight gate, rates;             // the rule's: (W Y, D) and, rates below each other with decays, (2 W, D); or none
  const float* inputs_bias;
  const float *taps, *taps_bias;  // (kernel, channels), (channels)
  const float *slopes, *steps;    // (W) of decays
  const float* norm;              // (Y) of what is read, before its gate; of the space, (W Y), behind it, or null
  const float* skips;             // (W) of the space; null: there is none
  const float* scales;            // (rows of inputs) what products are multiplied with, or null
  Weight out;                     // the last product where the layer attends as well, whose own is `o`
  const float* out_bias;
  int32_t channels, kernel;
  int32_t key_heads, value_heads, key_dim, value_dim;  // value_heads 0: neither
  int32_t activation;             // behind the convolution, where there are heads
  float least_step, most_step;    // of the space
  float out_scale;                // what the state's branch is multiplied with, where there is `out`
};

// Multi-head latent attention (arXiv:2405.04434): a token is kept as C numbers, out of which every head makes a key of N
// numbers and a value of U, and R rotated ones that are part of all heads' keys. The layer's q gives queries,
// (H (N + R), D or the rank of q_a), its k what is kept, (C + R, D); there is no v.
struct Latent {
  Weight q_a;              // (rank, D) and a norm, before the layer's q; no data: q reads the stream itself
  const float* q_a_bias;
  const float *q_norm, *kv_norm;  // (rank), (C)
  const Weight* into;      // (H) of (C, N): a query that reads keys into one that reads what is kept
  const Weight *keys, *values;  // (H) of (N, C), into turned, and of (U, C): what is kept into keys and values
  int32_t kept, plain, rotated, value;  // C, N, R, U
  float epsilon;                        // of both norms
};

// What a layer adds of its own embedding: projection(activation(gate(stream)) * own), through a norm.
struct OwnInput {
  Weight gate, projection;  // (P, D), (D, P)
  Norm norm;                // (D)
};

// Embeddings of every layer's own (Gemma 4).
struct OwnInputs {
  const void* table;        // (tokens, layers P) rows of table_type, as Model's embedding
  Weight projection;        // (layers P, D)
  Norm norm;                // (P)
  int32_t table_type, width;  // P
  float table_scale, stream_scale;
};

// Without `o` it is an MLP alone; without gate_up and experts it has none. With a state and q it has both side by side:
// they read the same, and both branches are added.
struct Layer {
  Norm before_attention, after_attention, before_mlp, after_mlp;
  Norm q_norm, k_norm;  // over a head, or over all of them
  Weight q, k, v, o, gate_up, down;  // without v, values are what k gives; gate_up: the gate's rows, then up's; without a gate up's alone
  Weight attention_gate;             // (H E, D): what each head takes home counts sigmoid of it; or none
  const float *q_bias, *k_bias, *v_bias, *o_bias, *gate_up_bias, *down_bias, *attention_gate_bias;
  const float* sinks;      // (H)
  const float* curve;      // (4) of kXielu, or null
  const Experts* experts;  // in place of gate_up and down
  const State* state;      // in place of q, k, v and the gate, or beside them
  const Latent* latent;    // in place of v
  const OwnInput* own_input;  // or null
  int32_t window;          // positions that a query sees; 0: all before it
  int32_t angles;          // which of the pass's tables rotates; -1: none
  int32_t kv_heads, head_dim, rotary_dim;
  int32_t owner;           // the layer whose keys and values are read; where that is another, there is no k
  float mix_scale, feed_scale;  // what attention's branch and the MLP's are multiplied with, beside residual_scale
  float scalar;            // of what the layer leaves
};

constexpr int kAngleTables = 2;

// The products of a layer that an adapter may add to, in the order of its additions. Where a state is kept, the first
// are those of its inputs and of its gate, V is that of rates and the attention gate that of decays; beside attention
// it has two of its own. With latents K is what is kept, V all heads' keys and values of it, (H (N + U)) head by head,
// and the attention gate q_a. Of experts only the shared one is added to. The last two are those around a layer's own
// embedding.
enum Addition : int32_t {
  kAddQ, kAddK, kAddV, kAddO, kAddGate, kAddUp, kAddDown, kAddAttentionGate, kAddStateIn, kAddStateOut, kAddOwnGate,
  kAddOwnOut, kAdditions
};

struct Model {
  const void* embedding;      // (V, D) rows of embedding_type; kCoded: a Weight
  const float* added;         // (positions, D) what is added to them, or null
  const Layer* layers;
  const OwnInputs* own_inputs;  // or null
  Norm last_norm;
  Weight head;
  const float* head_bias;
  int32_t num_layers, hidden, heads, kv_heads, head_dim, rotary_dim, intermediate, vocabulary;
  int32_t activation, gated, norm_kind, norm_all_heads, residual, embedding_type;
  int32_t norm_values;  // values go through a norm without a weight
  int32_t norm_turned;  // queries and keys go through their norms behind their rotation
  int32_t chunked;      // windows stand side by side
  int32_t grows_unrotated;  // query_scales are for layers without a table of angles
  float epsilon, scale, softcap;  // of scores in attention; softcap 0: off
  float embedding_scale;
  float residual_scale;           // of each branch
  float gate_scale;               // of the MLP's gate, before its activation
  float logit_scale, logit_cap;   // cap 0: off
};

// New positions of some texts, text after text, and the memory of keys and values. Everything is N long unless said.
struct Pass {
  const int32_t* ids;
  const int32_t* rows;               // in the tables of angles, or of what is added
  const int32_t* places;             // (groups, N) in memory, where their keys and values go
  const float* cosine[kAngleTables];  // (rows, rotary_dim / 2)
  const float* sine[kAngleTables];
  const float* query_scales;         // what queries are multiplied with behind their rotation, or null
  void* const* keys;                 // one a layer: (positions of all texts, kv_row) of kv_type, K E of it the layer's
  void* const* values;
  float* const* key_scales;          // kCodes8: one a layer, (positions of all texts, scale_row); null otherwise
  float* const* value_scales;
  const int32_t* group_of;           // (num_layers) whose places and tables a layer has
  const int32_t* block_tables;       // (groups, texts, table_stride)
  float* const* states;              // one a layer: that of slot 0, from each slot to the next state_stride floats
  const int32_t* slots;              // (texts) of their states
  const int32_t* state_copies;       // slots that get what states are after each position; negative: none; or null
  const int32_t* query_start;        // (texts + 1)
  const int32_t* lengths;            // (texts) positions with the new ones
  const int32_t* wanted;             // (num_wanted) positions to be scored, the last of their texts
  float* logits;                     // (num_wanted, V)
  int64_t table_stride, state_stride;
  int64_t kv_row, scale_row;         // numbers and scales of a position in memory
  int32_t tokens, texts, num_wanted, kv_type, block_size;
  int32_t most_rank;    // of the adapters
  int32_t has_factors;  // whether any of their additions has
  const LowRank* const* adapters;  // (texts) each (num_layers, kAdditions), or null; null where no text has one
};

// Adds to `count` values, in place, those of the other processes; called by one thread while the others wait.
typedef void (*Sum)(float* values, int64_t count);
