// A layer that keeps a state of each text, inside a pass: model/recurrent is the twin.
#pragma once
#include "forward_plan.h"

namespace {

constexpr int32_t kNothing = -1;  // no format: nothing is prepared yet

// Run: the pass, see forward.cpp.
template <class Run>
struct StateRun {
  const Run& run;
  const State& s;
  int32_t number;  // the layer's
  Addition inputs;  // of adapters to the first product

  StateTexts texts(int64_t offset) const {
    const Pass& p = run.p;
    return StateTexts{p.query_start, p.slots, p.state_copies, p.states[number] + offset, p.state_stride, p.texts};
  }

  // Where in a state matrices begin.
  int64_t matrices() const { return (static_cast<int64_t>(s.kernel - 1) * s.channels + 15) / 16 * 16; }

  // A product of the rows x, and what adapters add to it; what is prepared serves the next of the same format.
  void multiply(const Weight& weight, const float* x, Prepared& prepared, float* y, const float* bias,
                Addition addition) const {
    if (weight.format != prepared.format) prepared = run.prepare(weight.format, x, run.p.tokens, run.m.hidden);
    run.multiply(weight, prepared, y, bias, false);
    run.adapt(number, addition, x, run.m.hidden, run.m.hidden, {{y, weight.rows, weight.rows, bias}});
  }

  // Rates and, beside them, decays.
  void multiply_rates(const float* x, float* rates) const {
    int64_t hidden = run.m.hidden, heads = s.value_heads;
    Prepared prepared = run.prepare(s.rates.format, x, run.p.tokens, hidden);
    run.multiply(s.rates, prepared, rates, nullptr, false);
    run.adapt(number, kAddV, x, hidden, hidden, {{rates, 2 * heads, heads, nullptr}});
    run.adapt(number, kAddAttentionGate, x, hidden, hidden, {{rates + heads, 2 * heads, heads, nullptr}});
  }

  // c * conv(b * x), where the three are products of one input.
  void convolve(const float* x) const {
    float* mixed = run.at(run.plan.mixed);
    Prepared prepared{kNothing};
    multiply(s.inputs, x, prepared, mixed, s.inputs_bias, inputs);
    run.kernel.convolve(run.worker, Convolve{texts(0), mixed + 2 * s.channels, mixed, mixed + s.channels,
                                             run.at(run.plan.attended), s.taps, s.taps_bias, s.channels, s.inputs.rows,
                                             s.channels, s.kernel, -1});
    barrier(run.worker);
  }

  // Queries, keys and values through a convolution and the rule; what is read through a norm, and times its gate.
  void follow_rule(const float* x) const {
    const Kernels& kernel = run.kernel;
    float *mixed = run.at(run.plan.mixed), *convolved = run.at(run.plan.convolved), *read = run.at(run.plan.attended);
    float *rates = run.at(run.plan.rates), *gates = run.at(run.plan.gates);
    Prepared prepared{kNothing};
    multiply(s.inputs, x, prepared, mixed, s.inputs_bias, inputs);
    multiply(s.gate, x, prepared, gates, nullptr, kAddK);
    multiply_rates(x, rates);
    kernel.convolve(run.worker, Convolve{texts(0), mixed, nullptr, nullptr, convolved, s.taps, s.taps_bias, s.channels,
                                         s.channels, s.channels, s.kernel, s.activation});
    barrier(run.worker);
    int64_t tokens = run.p.tokens;
    DeltaRule rule{texts(matrices()), convolved, rates, s.slopes, s.steps, read, tokens, s.key_heads, s.value_heads,
                   s.key_dim, s.value_dim};
    kernel.delta_ready(run.worker, rule);
    barrier(run.worker);
    kernel.delta_rule(run.worker, rule);
    barrier(run.worker);
    int64_t Y = s.value_dim, width = s.value_heads * Y;
    kernel.rms_norm(run.worker, RmsNorm{read, s.norm, read, tokens * s.value_heads, Y, Y, Y, run.m.epsilon, 0.0f});
    barrier(run.worker);
    kernel.gated(run.worker, Gated{gates, read, read, tokens, width, width, width, width, kSilu, 0.0f, nullptr});
    barrier(run.worker);
  }

  // Values, keys and queries through a convolution and the space; what is read times its gate, and through a norm.
  void cross_space(const float* x) const {
    const Kernels& kernel = run.kernel;
    float *mixed = run.at(run.plan.mixed), *convolved = run.at(run.plan.convolved), *read = run.at(run.plan.attended);
    int64_t tokens = run.p.tokens, stride = s.inputs.rows, width = static_cast<int64_t>(s.value_heads) * s.value_dim;
    Prepared prepared{kNothing};
    multiply(s.inputs, x, prepared, mixed, s.inputs_bias, inputs);
    if (s.scales) run.multiply_rows(mixed, stride, stride, s.scales, 1.0f);
    float *values = mixed + width, *steps = values + s.channels;
    StateSpace space{texts(matrices()), convolved, steps, run.at(run.plan.rates), s.slopes, s.steps, s.skips, read,
                     tokens, stride, s.key_heads, s.value_heads, s.key_dim, s.value_dim, s.least_step, s.most_step};
    kernel.space_ready(run.worker, space);
    kernel.convolve(run.worker, Convolve{texts(0), values, nullptr, nullptr, convolved, s.taps, s.taps_bias, s.channels,
                                         stride, s.channels, s.kernel, s.activation});
    barrier(run.worker);
    kernel.state_space(run.worker, space);
    barrier(run.worker);
    if (s.norm)
      kernel.gated_norm(run.worker, GatedNorm{read, mixed, s.norm, tokens, width, stride, s.key_heads, run.m.epsilon});
    else
      kernel.gated(run.worker, Gated{mixed, read, read, tokens, width, stride, width, width, kSilu, 0.0f, nullptr});
    barrier(run.worker);
  }

  // What the last product is of, in plan.attended.
  void mix(const float* x) const { s.skips ? cross_space(x) : s.value_heads ? follow_rule(x) : convolve(x); }
};

}  // namespace
