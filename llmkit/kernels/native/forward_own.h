// Embeddings of each layer's own inside a pass (Gemma 4): made for all layers at once, added layer by layer.
#pragma once
#include "forward_plan.h"

namespace {

// L layers, P numbers of a layer's own. plan.own is (tokens, L P).
template <class Run>
struct OwnRun {
  const Run& run;

  const Model& m = run.m;
  const Pass& p = run.p;
  const OwnInputs& o = *m.own_inputs;
  Worker& worker = run.worker;
  int64_t width = o.width, all = width * m.num_layers;
  float* own = run.at(run.plan.own);

  // Half a product of the stream, half a row of the table.
  void make() const {
    const Weight& weight = o.projection;
    Prepared prepared = run.prepare(weight.format, run.stream(), p.tokens, m.hidden);
    run.multiply(weight, prepared, own, nullptr, false);
    for (int64_t n = worker.index; n < p.tokens; n += worker.size)
      for (int64_t i = 0; i < all; i++) own[n * all + i] *= o.stream_scale;
    barrier(worker);
    run.norm(own, o.norm, own, p.tokens * static_cast<int64_t>(m.num_layers), width);
    float half = 0.70710678118654752f, *row = reinterpret_cast<float*>(worker.own);
    for (int64_t n = worker.index; n < p.tokens; n += worker.size) {
      run.table_row(o.table, o.table_type, all, p.ids[n], row);
      for (int64_t i = 0; i < all; i++) own[n * all + i] = (own[n * all + i] + row[i] * o.table_scale) * half;
    }
    barrier(worker);
  }

  // A layer's, gated by the stream, onto the stream.
  void add(const OwnInput& l, int32_t number) const {
    float* gate = run.at(run.plan.own_gate);
    Prepared prepared = run.prepare(l.gate.format, run.stream(), p.tokens, m.hidden);
    run.multiply(l.gate, prepared, gate, nullptr, false);
    run.adapt(number, kAddOwnGate, run.stream(), m.hidden, m.hidden, {{gate, width, width}});
    Gated gated{gate, own + number * width, gate, p.tokens, width, width, all, width, m.activation, 0.0f, nullptr};
    run.kernel.gated(worker, gated);
    barrier(worker);
    prepared = run.prepare(l.projection.format, gate, p.tokens, width);
    float* branch = run.at(run.plan.branch);
    run.multiply(l.projection, prepared, branch, nullptr, false);
    run.adapt(number, kAddOwnOut, gate, width, width, {{branch, m.hidden, m.hidden}});
    run.join(l.norm, m.residual_scale);
  }
};

}  // namespace
