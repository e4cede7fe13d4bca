// A layer that keeps a state of each text, inside a pass: model/recurrent is the twin.
#pragma once
#include <initializer_list>

#include "forward_plan.h"

namespace {

struct StateRun {
  const Kernels& kernel;
  const Model& m;
  const State& s;
  const Pass& p;
  const Plan& plan;
  Worker& worker;
  char* memory;
  float* states;  // the layer's

  float* floats(size_t offset) const { return reinterpret_cast<float*>(memory + offset); }
  StateTexts texts(int64_t offset) const {
    return StateTexts{p.query_start, p.slots, states + offset, p.state_stride, p.texts};
  }

  struct Product {
    const Weight& weight;
    float* y;
    const float* bias;
  };

  // Products of the same rows; those of one format, side by side, share what is prepared.
  void multiply(const float* x, std::initializer_list<Product> products) const {
    Prepared prepared;
    int32_t format = -1;
    for (const Product& one : products) {
      if (one.weight.format != format) {
        format = one.weight.format;
        prepared = kernel.lay_out(format, p.tokens, m.hidden, memory + plan.prepared);
        kernel.prepare(worker, prepared, kFloat32, x, m.hidden, m.hidden);
        barrier(worker);
      }
      kernel.multiply(worker, one.weight, prepared, Output{one.y, one.weight.rows, one.bias, false}, worker.own);
      barrier(worker);
    }
  }

  // c * conv(b * x), where the three are products of one input.
  void convolve(const float* x) const {
    float* mixed = floats(plan.mixed);
    multiply(x, {{s.inputs, mixed, s.inputs_bias}});
    kernel.convolve(worker, Convolve{texts(0), mixed + 2 * s.channels, mixed, mixed + s.channels, floats(plan.attended),
                                     s.taps, s.taps_bias, s.channels, s.inputs.rows, s.channels, s.kernel, -1});
    barrier(worker);
  }

  // Queries, keys and values through a convolution and the rule; what is read through a norm, and times its gate.
  void follow_rule(const float* x) const {
    float *mixed = floats(plan.mixed), *convolved = floats(plan.convolved), *read = floats(plan.attended);
    float *rates = floats(plan.rates), *gates = floats(plan.gates);
    multiply(x, {{s.inputs, mixed, s.inputs_bias}, {s.gate, gates, nullptr}, {s.rates, rates, nullptr}});
    kernel.convolve(worker, Convolve{texts(0), mixed, nullptr, nullptr, convolved, s.taps, s.taps_bias, s.channels,
                                     s.channels, s.channels, s.kernel, m.activation});
    barrier(worker);
    int64_t offset = (static_cast<int64_t>(s.kernel - 1) * s.channels + 15) / 16 * 16;
    DeltaRule rule{texts(offset), convolved, rates, s.slopes, s.steps, read, p.tokens, s.key_heads, s.value_heads,
                   s.key_dim, s.value_dim};
    kernel.delta_ready(worker, rule);
    barrier(worker);
    kernel.delta_rule(worker, rule);
    barrier(worker);
    int64_t Y = s.value_dim, width = s.value_heads * Y;
    kernel.rms_norm(worker, RmsNorm{read, s.norm, read, p.tokens * static_cast<int64_t>(s.value_heads), Y, Y, Y,
                                    m.epsilon, 0.0f});
    barrier(worker);
    kernel.gated(worker, Gated{gates, read, read, p.tokens, width, width, width, width, kSilu, 0.0f, nullptr});
    barrier(worker);
  }

  // What the last product is of, in plan.attended.
  void run(const float* x) const { s.value_heads ? follow_rule(x) : convolve(x); }
};

}  // namespace
