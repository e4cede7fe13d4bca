// A mixture of experts inside a pass: rows in order of their expert, so that each expert's weights are read once.
//
// Experts have few rows each: every expert's loop has a cursor of its own, and threads go from one expert to the next
// without waiting for each other. They meet only between the phases of the whole layer.
#pragma once
#include "forward_plan.h"
#include "forward_routes.h"

namespace {

enum Phase { kPrepareIn, kGateUp, kPrepareInner, kDown };

struct ExpertsRun {
  const Kernels& kernel;
  const Model& m;
  const Experts& e;
  const Plan& plan;
  Worker& worker;
  char* memory;
  int64_t tokens;

  float* floats(size_t offset) const { return reinterpret_cast<float*>(memory + offset); }
  int32_t* ints(size_t offset) const { return reinterpret_cast<int32_t*>(memory + offset); }
  int64_t router_rows() const { return e.num_experts + (e.shared_gate ? 1 : 0); }

  void choose(const float* fed) const {
    Prepared prepared = kernel.lay_out(e.router.format, tokens, m.hidden, memory + plan.prepared);
    kernel.prepare(worker, prepared, kFloat32, fed, m.hidden, m.hidden);
    barrier(worker);
    kernel.multiply(worker, e.router, prepared, Output{floats(plan.scores), router_rows(), e.router_bias, false}, worker.own);
    barrier(worker);
    for (int64_t token; (token = claim(worker, 1)) < tokens;)
      route(e, floats(plan.scores) + token * router_rows(), ints(plan.chosen) + token * e.per_token,
            floats(plan.weights) + token * e.per_token, reinterpret_cast<float*>(worker.own));
    barrier(worker);
  }

  // Rows by expert, and within one in the order of their tokens. One worker's: there is nothing to share out.
  void sort() const {
    if (worker.index == 0) {
      int64_t rows = tokens * e.per_token;
      int32_t *starts = ints(plan.starts), *chosen = ints(plan.chosen), *places = ints(plan.places);
      memset(starts, 0, sizeof(int32_t) * static_cast<size_t>(e.num_experts + 1));
      for (int64_t r = 0; r < rows; r++) starts[chosen[r] + 1]++;
      for (int32_t i = 0; i < e.num_experts; i++) starts[i + 1] += starts[i];
      for (int64_t r = 0; r < rows; r++) {  // starts move up to ends, and back below
        places[r] = starts[chosen[r]]++;
        ints(plan.sources)[places[r]] = static_cast<int32_t>(r / e.per_token);
      }
      for (int32_t i = e.num_experts; i > 0; i--) starts[i] = starts[i - 1];
      starts[0] = 0;
      Team* cursors = reinterpret_cast<Team*>(memory + plan.cursors);
      for (int32_t i = 0; i < 4 * e.num_experts; i++) cursors[i].cursor = 0;
    }
    barrier(worker);
  }

  // each(expert, its first row, its rows, a worker with the expert's own cursor, its part of prepared memory)
  template <class Each>
  void each_expert(Phase phase, int32_t format, int64_t cols, Each each) const {
    const int32_t* starts = ints(plan.starts);
    Team* cursors = reinterpret_cast<Team*>(memory + plan.cursors) + static_cast<int64_t>(phase) * e.num_experts;
    char* prepared = memory + plan.expert_prepared;
    for (int32_t expert = 0; expert < e.num_experts; expert++) {
      int64_t first = starts[expert], rows = starts[expert + 1] - first;
      if (!rows) continue;
      Worker mine{cursors + expert, worker.index, worker.size, worker.own};
      each(expert, first, mine, kernel.lay_out(format, rows, cols, prepared));
      prepared += aligned(kernel.prepared_bytes(format, rows, cols));
    }
    barrier(worker);
  }

  void prepare(Phase phase, int32_t format, const float* x, int64_t stride, int64_t cols) const {
    each_expert(phase, format, cols, [&](int32_t, int64_t first, Worker& mine, const Prepared& prepared) {
      kernel.prepare(mine, prepared, kFloat32, x + first * stride, stride, cols);
    });
  }

  void multiply(Phase phase, const Weight* weights, const float* bias, float* y) const {
    int64_t width = weights[0].rows;
    auto each = [&](int32_t expert, int64_t first, Worker& mine, const Prepared& prepared) {
      Output out{y + first * width, width, bias ? bias + expert * width : nullptr, false};
      kernel.multiply(mine, weights[expert], prepared, out, worker.own);
    };
    each_expert(phase, weights[0].format, weights[0].cols, each);
  }

  // Rows that experts read are multiplied with their weights, which then are 1 for what comes out.
  void weigh(float* rows, int64_t count) const {
    for (int64_t r; (r = claim(worker, 1)) < count;) {
      float *row = rows + static_cast<int64_t>(ints(plan.places)[r]) * m.hidden, *weight = floats(plan.weights) + r;
      for (int32_t i = 0; i < m.hidden; i++) row[i] *= *weight;
      *weight = 1.0f;
    }
    barrier(worker);
  }

  // Every row's expert, its result in plan.rows.
  void compute(const float* fed) const {
    float *rows = floats(plan.rows), *inner = floats(plan.expert_inner);
    int64_t count = tokens * e.per_token, width = e.gate_up[0].rows;
    for (int64_t row; (row = claim(worker, 1)) < count;)
      memcpy(rows + row * m.hidden, fed + static_cast<int64_t>(ints(plan.sources)[row]) * m.hidden,
             sizeof(float) * static_cast<size_t>(m.hidden));
    barrier(worker);
    if (e.weighs_inputs) weigh(rows, count);
    prepare(kPrepareIn, e.gate_up[0].format, rows, m.hidden, m.hidden);
    multiply(kGateUp, e.gate_up, e.gate_up_bias, inner);
    const float* up = m.gated ? inner + e.intermediate : nullptr;
    kernel.gated(worker, Gated{inner, up, inner, count, e.intermediate, width, width, width, e.activation, e.limit,
                               nullptr});
    barrier(worker);
    prepare(kPrepareInner, e.down[0].format, inner, width, e.intermediate);
    multiply(kDown, e.down, e.down_bias, rows);
  }

  // The shared expert's result in plan.shared.
  template <class Adapt>
  void compute_shared(const float* fed, Adapt adapt) const {
    float* inner = floats(plan.inner);
    int64_t size = e.shared_intermediate, width = e.shared_gate_up.rows;
    const float* up = m.gated ? inner + size : nullptr;
    Prepared prepared = kernel.lay_out(e.shared_gate_up.format, tokens, m.hidden, memory + plan.prepared);
    kernel.prepare(worker, prepared, kFloat32, fed, m.hidden, m.hidden);
    barrier(worker);
    const float *bias = e.shared_gate_up_bias, *up_bias = bias ? bias + size : nullptr;
    kernel.multiply(worker, e.shared_gate_up, prepared, Output{inner, width, bias, false}, worker.own);
    barrier(worker);
    if (m.gated)
      adapt(kAddGate, fed, m.hidden, m.hidden, {{inner, width, size, bias}, {inner + size, width, size, up_bias}});
    else
      adapt(kAddUp, fed, m.hidden, m.hidden, {{inner, width, size, bias}});
    kernel.gated(worker, Gated{inner, up, inner, tokens, size, width, width, width, m.activation, 0.0f, nullptr});
    barrier(worker);
    prepared = kernel.lay_out(e.shared_down.format, tokens, size, memory + plan.prepared);
    kernel.prepare(worker, prepared, kFloat32, inner, width, size);
    barrier(worker);
    Output out{floats(plan.shared), m.hidden, e.shared_down_bias, false};
    kernel.multiply(worker, e.shared_down, prepared, out, worker.own);
    barrier(worker);
    adapt(kAddDown, inner, width, size, {{floats(plan.shared), m.hidden, m.hidden, e.shared_down_bias}});
  }

  // Each token's own, and what all use, onto (or into) `out`. adapt(addition, rows, their stride, columns, products)
  // adds what adapters change of products.
  template <class Adapt>
  void run(const float* fed, float* out, float scale, bool accumulate, Adapt adapt) const {
    choose(fed);
    sort();
    compute(fed);
    if (e.shared_intermediate) compute_shared(fed, adapt);
    add_up(e.shared_intermediate ? floats(plan.shared) : nullptr, out, scale, accumulate);
  }

  // The sum for each token of what its experts gave, weighed, and of `shared`, if there is any.
  void add_up(const float* shared, float* out, float scale, bool accumulate) const {
    const float* gates = e.shared_gate ? floats(plan.scores) + e.num_experts : nullptr;
    kernel.join(worker, Join{floats(plan.rows), ints(plan.places), floats(plan.weights), shared, gates, out, tokens,
                             m.hidden, router_rows(), e.per_token, scale, accumulate});
    barrier(worker);
  }
};

}  // namespace
