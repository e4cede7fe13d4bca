// A whole model in one region of the pool: every layer of every new position, and the scores of those that are wanted.
//
// Between Python calls, or kernels called one by one, a small model's token would spend longer than in the kernels.
#include <string.h>

#include "forward.h"

namespace {

// Where things lie in the region's scratch memory; all aligned to 64 bytes.
struct Plan {
  size_t normed, q, k, v, attended, gate_up, last, prepared, partial, own, own_bytes, total;
};

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t most(size_t a, size_t b) { return a > b ? a : b; }

Attention attention_of(const Model& m, const Pass& p) {
  Attention a;
  memset(&a, 0, sizeof a);
  int64_t row = static_cast<int64_t>(m.kv_heads) * m.head_dim;
  a.block_table = p.block_table, a.query_start = p.query_start, a.lengths = p.lengths;
  a.q_stride = a.out_stride = static_cast<int64_t>(m.heads) * m.head_dim;
  a.k_block = a.v_block = p.block_size * row, a.k_token = a.v_token = row, a.k_head = a.v_head = m.head_dim;
  a.table_stride = p.table_stride, a.kv_type = p.kv_type, a.block_size = p.block_size;
  a.sequences = p.texts, a.heads = m.heads, a.kv_heads = m.kv_heads, a.key_dim = a.value_dim = m.head_dim;
  a.scale = m.scale;
  return a;
}

Plan plan_of(const Kernels& kernel, const Model& m, const Pass& p) {
  int64_t n = p.tokens, heads = m.heads * m.head_dim, kv = m.kv_heads * m.head_dim;
  const Layer& l = m.layers[0];
  Attention a = attention_of(m, p);
  Plan plan;
  size_t at = 0;
  auto take = [&](size_t bytes) { size_t here = at; at += aligned(bytes); return here; };
  plan.normed = take(sizeof(float) * n * m.hidden);
  plan.q = take(sizeof(float) * n * heads);
  plan.k = take(sizeof(float) * n * kv);
  plan.v = take(sizeof(float) * n * kv);
  plan.attended = take(sizeof(float) * n * heads);
  plan.gate_up = take(sizeof(float) * n * 2 * m.intermediate);
  plan.last = take(sizeof(float) * p.num_wanted * m.hidden);
  size_t prepared = kernel.prepared_bytes(l.q.format, n, m.hidden);
  prepared = most(prepared, kernel.prepared_bytes(l.o.format, n, heads));
  prepared = most(prepared, kernel.prepared_bytes(l.gate_up.format, n, m.hidden));
  prepared = most(prepared, kernel.prepared_bytes(l.down.format, n, m.intermediate));
  if (p.num_wanted) prepared = most(prepared, kernel.prepared_bytes(m.head.format, p.num_wanted, m.hidden));
  plan.prepared = take(prepared);
  plan.partial = take(kernel.attention_partial_bytes(a));
  plan.own_bytes = aligned(most(kernel.multiply_bytes(), kernel.attention_tile_bytes(a)));
  plan.own = take(plan.own_bytes * static_cast<size_t>(threads()));
  plan.total = at;
  return plan;
}

// What every worker runs, with barriers between what depends on what.
struct Run {
  const Kernels& kernel;
  const Model& m;
  const Pass& p;
  const Plan& plan;
  Worker& worker;
  char* memory;

  float* at(size_t offset) const { return reinterpret_cast<float*>(memory + offset); }
  char* own() const { return memory + plan.own + static_cast<size_t>(worker.index) * plan.own_bytes; }

  Prepared prepare(int32_t format, const float* x, int64_t rows, int64_t cols) const {
    Prepared prepared = kernel.lay_out(format, rows, cols, memory + plan.prepared);
    kernel.prepare(worker, prepared, kFloat32, x, cols, cols);
    barrier(worker);
    return prepared;
  }

  void multiply(const Weight& weight, const Prepared& prepared, float* y, const float* bias, bool accumulate) const {
    kernel.multiply(worker, weight, prepared, Output{y, weight.rows, bias, accumulate}, own());
    barrier(worker);
  }

  void norm(const float* x, const float* weight, float* out, int64_t rows, int64_t cols) const {
    kernel.rms_norm(worker, RmsNorm{x, weight, out, rows, cols, cols, cols, m.epsilon, 0.0f});
    barrier(worker);
  }

  void rotate(float* x, int32_t heads) const {
    int64_t stride = static_cast<int64_t>(heads) * m.head_dim;
    kernel.rotary(worker, Rotary{x, p.cosine, p.sine, p.positions, p.tokens, stride, heads, m.head_dim, m.rotary_dim});
    barrier(worker);
  }

  // New keys and values into the memory that texts keep. bfloat16 is rounded to the nearest, ties to even.
  void keep(const float* from, void* to) const {
    int64_t row = static_cast<int64_t>(m.kv_heads) * m.head_dim;
    for (int32_t n = worker.index; n < p.tokens; n += worker.size) {
      const float* source = from + n * row;
      if (p.kv_type == kFloat32) {
        memcpy(static_cast<float*>(to) + p.places[n] * row, source, static_cast<size_t>(row) * 4);
        continue;
      }
      uint16_t* target = static_cast<uint16_t*>(to) + p.places[n] * row;
      for (int64_t i = 0; i < row; i++) {
        uint32_t bits;
        memcpy(&bits, source + i, 4);
        bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
        target[i] = static_cast<uint16_t>((is_nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
      }
    }
  }

  void attend(int32_t layer) const {
    Attention a = attention_of(m, p);
    a.q = at(plan.q), a.out = at(plan.attended), a.k = p.keys[layer], a.v = p.values[layer];
    kernel.attend(worker, a, at(plan.partial), own());
    barrier(worker);
  }

  void run_layer(int32_t number) const {
    const Layer& l = m.layers[number];
    int64_t n = p.tokens;
    norm(p.x, l.input_norm, at(plan.normed), n, m.hidden);
    Prepared prepared = prepare(l.q.format, at(plan.normed), n, m.hidden);
    multiply(l.q, prepared, at(plan.q), l.q_bias, false);
    multiply(l.k, prepared, at(plan.k), l.k_bias, false);
    multiply(l.v, prepared, at(plan.v), l.v_bias, false);
    if (l.q_norm) norm(at(plan.q), l.q_norm, at(plan.q), n * m.heads, m.head_dim);
    if (l.k_norm) norm(at(plan.k), l.k_norm, at(plan.k), n * m.kv_heads, m.head_dim);
    rotate(at(plan.q), m.heads);
    rotate(at(plan.k), m.kv_heads);
    keep(at(plan.k), p.keys[number]);
    keep(at(plan.v), p.values[number]);
    barrier(worker);
    attend(number);
    prepared = prepare(l.o.format, at(plan.attended), n, static_cast<int64_t>(m.heads) * m.head_dim);
    multiply(l.o, prepared, p.x, l.o_bias, true);
    norm(p.x, l.mlp_norm, at(plan.normed), n, m.hidden);
    prepared = prepare(l.gate_up.format, at(plan.normed), n, m.hidden);
    float* gate = at(plan.gate_up);
    int64_t width = 2 * static_cast<int64_t>(m.intermediate);
    multiply(l.gate_up, prepared, gate, l.gate_up_bias, false);
    // into the queries' and keys' memory it might not fit: the gate's own half, row by row, then packed together
    kernel.gated(worker, Gated{gate, gate + m.intermediate, gate, n, m.intermediate, width, width, width, m.activation});
    barrier(worker);
    prepared = kernel.lay_out(l.down.format, n, m.intermediate, memory + plan.prepared);
    kernel.prepare(worker, prepared, kFloat32, gate, width, m.intermediate);
    barrier(worker);
    multiply(l.down, prepared, p.x, l.down_bias, true);
  }

  void run() const {
    for (int32_t layer = 0; layer < m.num_layers; layer++) run_layer(layer);
    if (!p.num_wanted) return;
    float* last = at(plan.last);
    for (int32_t row = worker.index; row < p.num_wanted; row += worker.size)
      memcpy(last + static_cast<int64_t>(row) * m.hidden, p.x + static_cast<int64_t>(p.wanted[row]) * m.hidden,
             static_cast<size_t>(m.hidden) * 4);
    barrier(worker);
    norm(last, m.last_norm, last, p.num_wanted, m.hidden);
    Prepared prepared = prepare(m.head.format, last, p.num_wanted, m.hidden);
    multiply(m.head, prepared, p.logits, nullptr, false);
  }
};

}  // namespace

// The scores of the wanted positions. `wide`: whether to use every thread; a tiny model is quicker on one.
LLMKIT_API bool llmkit_forward(const Model* model, const Pass* pass, int32_t wide) {
  const Kernels& kernel = *kernels();
  Plan plan = plan_of(kernel, *model, *pass);
  auto body = [&](Worker& worker, char* memory) { Run{kernel, *model, *pass, plan, worker, memory}.run(); };
  return run_region(
      [](Worker& worker, char* scratch, void* raw) { (*static_cast<decltype(body)*>(raw))(worker, scratch); }, &body,
      plan.total, wide != 0);
}
