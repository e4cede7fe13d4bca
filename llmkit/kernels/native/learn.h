// What the kernels of training take; llmkit/kernels/learn.py mirrors these structs.
#pragma once
#include <stdint.h>

// Attention within whole rows of text, forwards, or backwards where there is `d_out`. R rows, T positions, H query
// heads, K key/value heads, E key_dim, X value_dim. q, k, v and d_out are (R, heads, T, E or X) with any strides but that
// of the last; what is written is (R, T, heads, E or X) without gaps, and out is read so backwards. All but `lse` and
// `sinks` are of one type.
struct LearntAttention {
  const void *q, *k, *v;
  void* out;
  float* lse;            // (R, H, T) logarithm of the sum of a query's exponentials: written forwards, read backwards
  const void* d_out;     // or null: forwards
  void *d_q, *d_k, *d_v;
  const float* sinks;    // (H,) the score of a key that every query sees and that has no value; or null. Forwards only
  const int32_t* first;  // (R, T) the first position that each sees: no later one has an earlier first; or null: all 0
  int64_t q_row, q_head, q_token, k_row, k_head, k_token, v_row, v_head, v_token, g_row, g_head, g_token;
  int32_t type;  // kFloat32 or kBfloat16
  int32_t rows, heads, kv_heads, length;
  int32_t key_dim, value_dim;  // multiples of 32
  float scale;
  float softcap;  // scores become softcap * tanh(score / softcap); 0: off
};

// Nats of each row's target, or backwards where there are `slopes`. A target below zero carries no loss.
struct CrossEntropy {
  const void* logits;  // (rows, cols)
  const int64_t* targets;
  float* nats;
  float* terms;         // (rows, 2) the largest logit, and the logarithm of the sum of exponentials below it: written
                        // forwards, read backwards
  const float* factor;  // of each row: what its nats count
  void* slopes;         // (rows, cols) of the logits' type, or null: forwards
  int64_t rows, cols;
  int32_t type;  // kFloat32 or kBfloat16
};

// silu(gate) * up of `count` numbers, or backwards where there is `d_out`. All are of one type.
struct LearntGate {
  const void *gate, *up, *d_out;
  void *out, *d_gate, *d_up;
  int64_t count;
  int32_t type;  // kFloat32 or kBfloat16
};

// Rotated queries or keys: x is (rows, heads, T, E) with any strides but that of E, out (rows, T, heads, E) without gaps.
// Pairs are (i, i + rotary_dim / 2) of the first rotary_dim numbers of a head; the others stay.
struct LearntRotation {
  const void* x;
  void* out;
  const float *cosine, *sine;  // (T, rotary_dim / 2), those of the next row `table_row` later
  int64_t x_row, x_head, x_token, table_row;
  int64_t rows, heads, length;
  int32_t head_dim, rotary_dim, type;
  float sign;  // 1, or -1 backwards
};
