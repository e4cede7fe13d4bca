// Layers that keep a state of fixed size for each text: the arguments of their kernels.
#pragma once
#include <stdint.h>

// The new positions of some texts, end to end, and their states before these, which become those after them.
struct StateTexts {
  const int32_t* query_start;  // (count + 1) where each text's begin
  const int32_t* slots;        // (count) whose states they are
  const int32_t* copies;       // (rows) the slot that gets what the state is after each, negative: none; or null
  float* states;               // of slot 0
  int64_t stride;              // from slot to slot
  int32_t count;
};

// Each channel by itself: y at a position is the weighted sum of u there and at the kernel - 1 positions before, where
// u is x, or x * times. A state is (kernel - 1, channels), the last u. model/recurrent/conv.py is the twin.
struct Convolve {
  StateTexts texts;
  float* x;            // (rows, channels); becomes u
  const float* times;  // (rows, channels), or null
  const float* gate;   // (rows, channels) what y is multiplied with, or null
  float* out;          // (rows, channels), not x
  const float* taps;   // (kernel, channels), the earliest position's first
  const float* bias;   // (channels), or null
  int64_t channels, stride, out_stride;  // stride: of x, times and gate
  int32_t kernel;
  int32_t activation;  // of y, where it is not negative
};

// The gated delta rule: of each value head a matrix that forgets, and corrects what it gives for a key. A state is
// (value_heads, blocks of 16 values, key_dim, 16). model/recurrent/delta_rule.py is the twin.
struct DeltaRule {
  StateTexts texts;
  float* qkv;           // (rows, 2 key_heads key_dim + value_heads value_dim); queries and keys become of length 1
  float* rates;         // (rows, 2 value_heads): what rates, then what decays are made of; they become these
  const float* slopes;  // (value_heads) of the decays' logarithms: not positive
  const float* steps;   // (value_heads) added to what decays are made of
  float* out;           // (rows, value_heads, value_dim) what is read
  int64_t rows;
  int32_t key_heads, value_heads, key_dim, value_dim;
};

// Mamba-2's state space: of each head a matrix that forgets, and adds what comes. A state is as the delta rule's, (heads,
// blocks of 16 values, key_dim, 16). model/recurrent/state_space.py is the twin.
struct StateSpace {
  StateTexts texts;
  const float* xkq;     // (rows, heads value_dim + 2 groups key_dim)
  const float* dt;      // (rows, heads) what steps are made of
  float* rates;         // (rows, 2 heads): steps, and decays
  const float* slopes;  // (heads) of the decays' logarithms: not positive
  const float* steps;   // (heads) added to dt
  const float* skips;   // (heads) what a value counts for by itself
  float* out;           // (rows, heads, value_dim) what is read
  int64_t rows, dt_stride;
  int32_t groups, heads, key_dim, value_dim;
  float least_step, most_step;
};

// x times silu of its gate, through an RMS norm of each group's numbers.
struct GatedNorm {
  float* x;             // (rows, width), becomes it
  const float* gate;    // (rows, width)
  const float* weight;  // (width)
  int64_t rows, width, gate_stride;
  int32_t groups;
  float epsilon;
};
