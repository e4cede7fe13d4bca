// A whole model in one region of the pool: every layer of every new position, and the scores of those that are wanted.
//
// Between Python calls, or kernels called one by one, a small model's token would spend longer than in the kernels.
#include "forward_experts.h"
#include "forward_latent.h"
#include "forward_states.h"
#include "region.h"

namespace {

// What every worker runs, with barriers between what depends on what.
struct Run {
  const Kernels& kernel;
  const Model& m;
  const Pass& p;
  const Plan& plan;
  Sum sum;  // null: all of the model is here
  Worker& worker;
  char* memory;

  float* at(size_t offset) const { return reinterpret_cast<float*>(memory + offset); }
  float* stream() const { return at(plan.x); }

  // What the first layer reads: the tokens' rows, scaled, and what their positions add.
  void embed() const {
    for (int32_t n = worker.index; n < p.tokens; n += worker.size) {
      float* out = stream() + static_cast<int64_t>(n) * m.hidden;
      if (m.embedding_type == kCoded) kernel.coded_row(*static_cast<const Weight*>(m.embedding), p.ids[n], out);
      int64_t from = static_cast<int64_t>(p.ids[n]) * m.hidden;
      const float* added = m.added ? m.added + static_cast<int64_t>(p.rows[n]) * m.hidden : nullptr;
      for (int32_t i = 0; i < m.hidden; i++) {
        float value;
        if (m.embedding_type == kCoded) {
          value = out[i];
        } else if (m.embedding_type == kBfloat16) {
          uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(m.embedding)[from + i]) << 16;
          memcpy(&value, &bits, 4);
        } else {
          value = static_cast<const float*>(m.embedding)[from + i];
        }
        out[i] = value * m.embedding_scale + (added ? added[i] : 0.0f);
      }
    }
    barrier(worker);
  }

  Prepared prepare(int32_t format, const float* x, int64_t rows, int64_t cols) const {
    Prepared prepared = kernel.lay_out(format, rows, cols, memory + plan.prepared);
    kernel.prepare(worker, prepared, kFloat32, x, cols, cols);
    barrier(worker);
    return prepared;
  }

  void multiply(const Weight& weight, const Prepared& prepared, float* y, const float* bias, bool accumulate) const {
    kernel.multiply(worker, weight, prepared, Output{y, weight.rows, bias, accumulate}, worker.own);
    barrier(worker);
  }

  // Rows through a norm, if there is one.
  const float* norm(const float* x, const Norm& norm, float* out, int64_t rows, int64_t cols) const {
    if (!norm.weight) return x;
    if (m.norm_kind == kLayerNorm)
      kernel.layer_norm(worker, LayerNorm{x, norm.weight, norm.bias, out, rows, cols, cols, m.epsilon});
    else
      kernel.rms_norm(worker, RmsNorm{x, norm.weight, out, rows, cols, cols, cols, m.epsilon, 0.0f});
    barrier(worker);
    return out;
  }

  // Queries or keys: their norm and their rotation, mostly in this order.
  void turn(float* x, const Norm& over, int32_t heads, int32_t angles) const {
    int64_t width = static_cast<int64_t>(heads) * m.head_dim;
    auto normed = [&] {
      if (m.norm_all_heads)
        norm(x, over, x, p.tokens, width);
      else
        norm(x, over, x, static_cast<int64_t>(p.tokens) * heads, m.head_dim);
    };
    if (!m.norm_turned) normed();
    if (angles >= 0) {
      kernel.rotary(worker, Rotary{x, p.cosine[angles], p.sine[angles], p.rows, p.tokens, width, heads, m.head_dim,
                                   m.rotary_dim});
      barrier(worker);
    }
    if (m.norm_turned) normed();
  }

  // Queries count for more the further on they stand.
  void grow(float* q) const {
    int64_t width = static_cast<int64_t>(m.heads) * m.head_dim;
    for (int32_t row = worker.index; row < p.tokens; row += worker.size)
      for (int64_t i = 0; i < width; i++) q[row * width + i] *= p.query_scales[row];
    barrier(worker);
  }

  // New keys and values into the memory that texts keep.
  void keep(const float* from, void* to, float* scales, int32_t group) const {
    const int32_t* places = p.places + static_cast<int64_t>(group) * p.tokens;
    kernel.keep(worker, Keep{from, to, scales, places, p.tokens, m.kv_heads, m.head_dim, p.kv_type});
  }

  // What the new positions of `count` texts from `first` on take home of their texts.
  void attend(int32_t number, const float* q, float* out, int32_t first, int32_t count) const {
    const Layer& l = m.layers[number];
    Attention a = attention_of(m, p);
    a.q = q, a.out = out, a.k = p.keys[number], a.v = p.values[number];
    if (p.key_scales) a.k_scale = p.key_scales[number], a.v_scale = p.value_scales[number];
    a.block_table += (static_cast<int64_t>(p.group_of[number]) * p.texts + first) * p.table_stride;
    a.query_start += first, a.lengths += first, a.sequences = count;
    a.window = l.window, a.sinks = l.sinks;
    kernel.attend(worker, a, at(plan.partial), worker.own);
    barrier(worker);
    if (!l.attention_gate.data) return;
    float* y = at(plan.attended);
    int64_t cols = a.out_stride;
    kernel.gated(worker, Gated{at(plan.gates), y, y, p.tokens, cols, cols, cols, cols, kLogistic, 0.0f, nullptr});
    barrier(worker);
  }

  bool joins_directly(const Norm& after, float scale) const { return !after.weight && scale == 1.0f && !sum; }

  // What a branch gave here and in the other processes, added up.
  void sum_branch() const {
    if (!sum) return;
    if (worker.index == 0) sum(at(plan.branch), static_cast<int64_t>(p.tokens) * m.hidden);
    barrier(worker);
  }

  // What a branch gave goes through its norm and, times `scale`, onto the stream.
  void join(const Norm& after, float scale) const {
    sum_branch();
    const float* branch = norm(at(plan.branch), after, at(plan.branch), p.tokens, m.hidden);
    Join join{};
    join.extra = branch, join.out = stream(), join.rows = p.tokens, join.cols = m.hidden;
    join.scale = scale, join.accumulate = true;
    kernel.join(worker, join);
    barrier(worker);
  }

  // What adapters add to products of the rows x, of which the first is `addition` of a layer.
  void adapt(int32_t number, Addition addition, const float* x, int64_t stride, int64_t cols,
             std::initializer_list<Product> products, const float* before = nullptr) const {
    if (!p.adapters) return;
    Adapted a{x, at(plan.narrow), p.adapters, p.query_start, before, p.tokens, cols, stride};
    a.first = static_cast<int64_t>(number) * kAdditions + addition;
    a.num_texts = p.texts, a.most_rank = p.most_rank;
    for (const Product& product : products) a.products[a.num_products++] = product;
    kernel.low_rank_in(worker, a);
    barrier(worker);
    kernel.low_rank_out(worker, a);
    barrier(worker);
  }

  // The stream as it is, where the branch would go: an adapter that rescales a product must know what it was added to.
  const float* copy_stream() const {
    float* copy = at(plan.branch);
    for (int64_t row = worker.index; row < p.tokens; row += worker.size)
      memcpy(copy + row * m.hidden, stream() + row * m.hidden, static_cast<size_t>(m.hidden) * 4);
    barrier(worker);
    return copy;
  }

  // A branch's last product, of the rows x, onto the stream.
  void close(const Weight& weight, const Prepared& prepared, const float* bias, const Norm& after, float scale,
             int32_t number, Addition addition, const float* x, int64_t x_stride) const {
    bool direct = joins_directly(after, scale);
    float* y = direct ? stream() : at(plan.branch);
    const float* before = direct && p.adapters && p.has_factors ? copy_stream() : nullptr;
    multiply(weight, prepared, y, bias, direct);
    adapt(number, addition, x, x_stride, weight.cols, {{y, m.hidden, m.hidden, bias}}, before);
    if (!direct) join(after, scale);
  }

  // The first `cols` numbers of each row, times a number for each or one for all.
  void multiply_rows(float* x, int64_t stride, int64_t cols, const float* factors, float factor) const {
    for (int64_t row = worker.index; row < p.tokens; row += worker.size)
      for (int64_t i = 0; i < cols; i++) x[row * stride + i] *= factors ? factors[i] : factor;
    barrier(worker);
  }

  // Queries, keys and values of the new positions; the latter two are kept. What each position took home is left in
  // plan.attended.
  void look(const Layer& l, int32_t number, const float* x) const {
    if (l.latent) return LatentRun<Run>{*this, l, *l.latent, number}.look(x);
    Prepared prepared = prepare(l.q.format, x, p.tokens, m.hidden);
    multiply(l.q, prepared, at(plan.q), l.q_bias, false);
    if (l.k.format != l.q.format) prepared = prepare(l.k.format, x, p.tokens, m.hidden);
    multiply(l.k, prepared, at(plan.k), l.k_bias, false);
    if (l.v.format != l.k.format) prepared = prepare(l.v.format, x, p.tokens, m.hidden);
    multiply(l.v, prepared, at(plan.v), l.v_bias, false);
    adapt(number, kAddQ, x, m.hidden, m.hidden,
          {{at(plan.q), l.q.rows, l.q.rows, l.q_bias},
           {at(plan.k), l.k.rows, l.k.rows, l.k_bias},
           {at(plan.v), l.v.rows, l.v.rows, l.v_bias}});
    if (l.attention_gate.data) {
      if (l.attention_gate.format != l.v.format)
        prepared = prepare(l.attention_gate.format, x, p.tokens, m.hidden);
      multiply(l.attention_gate, prepared, at(plan.gates), l.attention_gate_bias, false);
      adapt(number, kAddAttentionGate, x, m.hidden, m.hidden,
            {{at(plan.gates), l.attention_gate.rows, l.attention_gate.rows, l.attention_gate_bias}});
    }
    turn(at(plan.q), l.q_norm, m.heads, l.angles);
    if (p.query_scales && !(m.grows_unrotated && l.angles >= 0)) grow(at(plan.q));
    turn(at(plan.k), l.k_norm, m.kv_heads, l.angles);
    int32_t group = p.group_of[number];
    keep(at(plan.k), p.keys[number], p.key_scales ? p.key_scales[number] : nullptr, group);
    keep(at(plan.v), p.values[number], p.value_scales ? p.value_scales[number] : nullptr, group);
    barrier(worker);
    attend(number, at(plan.q), at(plan.attended), 0, p.texts);
  }

  void feed(const Layer& l, int32_t number, const float* x) const {
    if (l.experts) {
      ExpertsRun experts{kernel, m, *l.experts, plan, worker, memory, p.tokens};
      bool direct = !l.after_mlp.weight && !sum;
      float scale = m.residual_scale * l.feed_scale;
      auto adapted = [&](Addition addition, const float* rows, int64_t stride, int64_t cols,
                         std::initializer_list<Product> products) { adapt(number, addition, rows, stride, cols, products); };
      experts.run(x, direct ? stream() : at(plan.branch), direct ? scale : 1.0f, direct, adapted);
      if (!direct) join(l.after_mlp, scale);
      return;
    }
    Prepared prepared = prepare(l.gate_up.format, x, p.tokens, m.hidden);
    float* gate = at(plan.inner);
    int64_t size = m.intermediate, width = l.gate_up.rows;
    multiply(l.gate_up, prepared, gate, l.gate_up_bias, false);
    const float* up = m.gated ? gate + size : nullptr;
    if (m.gated)
      adapt(number, kAddGate, x, m.hidden, m.hidden,
            {{gate, width, size, l.gate_up_bias},
             {gate + size, width, size, l.gate_up_bias ? l.gate_up_bias + size : nullptr}});
    else
      adapt(number, kAddUp, x, m.hidden, m.hidden, {{gate, width, size, l.gate_up_bias}});
    if (m.gate_scale != 1.0f) multiply_rows(gate, width, size, nullptr, m.gate_scale);
    // into the gate's own half, row by row, to be packed together by what prepares it
    kernel.gated(worker, Gated{gate, up, gate, p.tokens, size, width, width, width, m.activation, 0.0f, l.curve});
    barrier(worker);
    prepared = kernel.lay_out(l.down.format, p.tokens, size, memory + plan.prepared);
    kernel.prepare(worker, prepared, kFloat32, gate, width, size);
    barrier(worker);
    float scale = m.residual_scale * l.feed_scale;
    close(l.down, prepared, l.down_bias, l.after_mlp, scale, number, kAddDown, gate, width);
  }

  // The branch by which positions learn of each other. Returns what the MLP reads where both read the same stream.
  const float* mix(const Layer& l, int32_t number) const {
    const float* x = norm(stream(), l.before_attention, at(plan.normed), p.tokens, m.hidden);
    if (l.state) StateRun<Run>{*this, *l.state, number, l.q.data ? kAddStateIn : kAddQ}.mix(x);
    if (l.state && l.q.data) {
      const State& s = *l.state;
      Prepared prepared = prepare(s.out.format, at(plan.attended), p.tokens, s.out.cols);
      float scale = m.residual_scale * s.out_scale;
      close(s.out, prepared, s.out_bias, Norm{}, scale, number, kAddStateOut, at(plan.attended), s.out.cols);
    }
    if (l.q.data) look(l, number, x);
    if (m.residual == kParallel) x = norm(stream(), l.before_mlp, at(plan.fed), p.tokens, m.hidden);
    Prepared prepared = prepare(l.o.format, at(plan.attended), p.tokens, l.o.cols);
    float scale = m.residual_scale * l.mix_scale;
    close(l.o, prepared, l.o_bias, l.after_attention, scale, number, kAddO, at(plan.attended), l.o.cols);
    return x;
  }

  void run_layer(int32_t number) const {
    const Layer& l = m.layers[number];
    const float* x = l.o.data ? mix(l, number) : nullptr;
    if (!l.gate_up.data && !l.experts) return;
    if (m.residual == kSerial) x = norm(stream(), l.before_mlp, at(plan.normed), p.tokens, m.hidden);
    feed(l, number, x);
  }

  void run() const {
    embed();
    for (int32_t layer = 0; layer < m.num_layers; layer++) run_layer(layer);
    if (!p.num_wanted) return;
    float* last = at(plan.last);
    for (int32_t row = worker.index; row < p.num_wanted; row += worker.size)
      memcpy(last + static_cast<int64_t>(row) * m.hidden, stream() + static_cast<int64_t>(p.wanted[row]) * m.hidden,
             static_cast<size_t>(m.hidden) * 4);
    barrier(worker);
    norm(last, m.last_norm, last, p.num_wanted, m.hidden);
    Prepared prepared = prepare(m.head.format, last, p.num_wanted, m.hidden);
    multiply(m.head, prepared, p.logits, m.head_bias, false);
    if (m.logit_scale == 1.0f && m.logit_cap == 0.0f) return;
    kernel.cap(worker, Cap{p.logits, static_cast<int64_t>(p.num_wanted) * m.vocabulary, m.logit_scale, m.logit_cap});
    barrier(worker);
  }
};

}  // namespace

// The scores of the wanted positions. `wide`: whether to use every thread; a tiny model is quicker on one. `sum`: of a
// model that lies in parts in several processes, which all compute the same pass.
LLMKIT_API bool llmkit_forward(const Model* model, const Pass* pass, int32_t wide, Sum sum) {
  const Kernels& kernel = *kernels();
  Plan plan = plan_of(kernel, *model, *pass);
  auto body = [&](Worker& worker, char* memory) { Run{kernel, *model, *pass, plan, sum, worker, memory}.run(); };
  return region(body, wide ? kWorthSharing : 0, Scratch{plan.total, plan.own_bytes});
}
