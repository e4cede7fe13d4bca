// A whole model in one region of the pool: every layer of every new position, and the scores of those that are wanted.
//
// Between Python calls, or kernels called one by one, a small model's token would spend longer than in the kernels.
#include "forward_experts.h"
#include "forward_latent.h"
#include "forward_own.h"
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
      table_row(m.embedding, m.embedding_type, m.hidden, p.ids[n], out);
      const float* added = m.added ? m.added + static_cast<int64_t>(p.rows[n]) * m.hidden : nullptr;
      for (int32_t i = 0; i < m.hidden; i++) out[i] = out[i] * m.embedding_scale + (added ? added[i] : 0.0f);
    }
    barrier(worker);
  }

  // A row of an embedding in float32.
  void table_row(const void* table, int32_t type, int64_t cols, int32_t id, float* out) const {
    int64_t from = static_cast<int64_t>(id) * cols;
    if (type == kCoded) {
      kernel.coded_row(*static_cast<const Weight*>(table), id, out);
    } else if (type == kBfloat16) {
      for (int64_t i = 0; i < cols; i++) {
        uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(table)[from + i]) << 16;
        memcpy(out + i, &bits, 4);
      }
    } else {
      memcpy(out, static_cast<const float*>(table) + from, sizeof(float) * static_cast<size_t>(cols));
    }
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
  void turn(float* x, const Norm& over, int32_t heads, const Layer& l) const {
    int64_t width = static_cast<int64_t>(heads) * l.head_dim;
    int32_t angles = l.angles;
    auto normed = [&] {
      if (m.norm_all_heads)
        norm(x, over, x, p.tokens, width);
      else
        norm(x, over, x, static_cast<int64_t>(p.tokens) * heads, l.head_dim);
    };
    if (!m.norm_turned) normed();
    if (angles >= 0) {
      kernel.rotary(worker, Rotary{x, p.cosine[angles], p.sine[angles], p.rows, p.tokens, width, heads, l.head_dim,
                                   l.rotary_dim});
      barrier(worker);
    }
    if (m.norm_turned) normed();
  }

  // Queries count for more the further on they stand.
  void grow(float* q, int64_t width) const {
    for (int32_t row = worker.index; row < p.tokens; row += worker.size)
      for (int64_t i = 0; i < width; i++) q[row * width + i] *= p.query_scales[row];
    barrier(worker);
  }

  // New keys and values into the memory that texts keep.
  void keep(const float* from, void* to, float* scales, int32_t number) const {
    const int32_t* places = p.places + static_cast<int64_t>(p.group_of[number]) * p.tokens;
    const Layer& l = m.layers[number];
    Keep keep{from, to, scales, places, p.tokens, l.kv_heads, l.head_dim, p.kv_type, p.kv_row, p.scale_row};
    kernel.keep(worker, keep);
  }

  // What the new positions of `count` texts from `first` on take home of their texts.
  void attend(int32_t number, const float* q, float* out, int32_t first, int32_t count) const {
    const Layer& l = m.layers[number];
    int32_t owner = l.owner;
    Attention a = attention_of(m, l, p);
    a.q = q, a.out = out, a.k = p.keys[owner], a.v = p.values[owner];
    if (p.key_scales) a.k_scale = p.key_scales[owner], a.v_scale = p.value_scales[owner];
    a.block_table += (static_cast<int64_t>(p.group_of[owner]) * p.texts + first) * p.table_stride;
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

  // `adapt` within a layer.
  auto adapts(int32_t number) const {
    return [this, number](Addition addition, const float* x, int64_t stride, int64_t cols,
                          std::initializer_list<Product> products) { adapt(number, addition, x, stride, cols, products); };
  }

  // (tokens, cols) once more.
  void copy_rows(const float* from, float* to, int64_t cols) const {
    for (int64_t row = worker.index; row < p.tokens; row += worker.size)
      memcpy(to + row * cols, from + row * cols, sizeof(float) * static_cast<size_t>(cols));
    barrier(worker);
  }

  // The stream as it is, where the branch would go: an adapter that rescales a product must know what it was added to.
  const float* copy_stream() const {
    copy_rows(stream(), at(plan.branch), m.hidden);
    return at(plan.branch);
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
    if (l.owner != number) return look_at(l, number, x);
    if (l.k.format != l.q.format) prepared = prepare(l.k.format, x, p.tokens, m.hidden);
    multiply(l.k, prepared, at(plan.k), l.k_bias, false);
    if (l.v.data) {
      if (l.v.format != l.k.format) prepared = prepare(l.v.format, x, p.tokens, m.hidden);
      multiply(l.v, prepared, at(plan.v), l.v_bias, false);
      adapt(number, kAddQ, x, m.hidden, m.hidden,
            {{at(plan.q), l.q.rows, l.q.rows, l.q_bias},
             {at(plan.k), l.k.rows, l.k.rows, l.k_bias},
             {at(plan.v), l.v.rows, l.v.rows, l.v_bias}});
    } else {
      adapt(number, kAddQ, x, m.hidden, m.hidden,
            {{at(plan.q), l.q.rows, l.q.rows, l.q_bias}, {at(plan.k), l.k.rows, l.k.rows, l.k_bias}});
      copy_rows(at(plan.k), at(plan.v), l.k.rows);
    }
    if (l.attention_gate.data) {
      if (l.attention_gate.format != l.v.format)
        prepared = prepare(l.attention_gate.format, x, p.tokens, m.hidden);
      multiply(l.attention_gate, prepared, at(plan.gates), l.attention_gate_bias, false);
      adapt(number, kAddAttentionGate, x, m.hidden, m.hidden,
            {{at(plan.gates), l.attention_gate.rows, l.attention_gate.rows, l.attention_gate_bias}});
    }
    turn(at(plan.q), l.q_norm, m.heads, l);
    if (p.query_scales && !(m.grows_unrotated && l.angles >= 0)) grow(at(plan.q), l.q.rows);
    turn(at(plan.k), l.k_norm, l.kv_heads, l);
    if (m.norm_values) {
      int64_t rows = static_cast<int64_t>(p.tokens) * l.kv_heads, cols = l.head_dim;
      kernel.rms_norm(worker, RmsNorm{at(plan.v), nullptr, at(plan.v), rows, cols, cols, cols, m.epsilon, 0.0f});
      barrier(worker);
    }
    keep(at(plan.k), p.keys[number], p.key_scales ? p.key_scales[number] : nullptr, number);
    keep(at(plan.v), p.values[number], p.value_scales ? p.value_scales[number] : nullptr, number);
    barrier(worker);
    attend(number, at(plan.q), at(plan.attended), 0, p.texts);
  }

  // Queries of a layer that reads the keys and values of an earlier one.
  void look_at(const Layer& l, int32_t number, const float* x) const {
    adapt(number, kAddQ, x, m.hidden, m.hidden, {{at(plan.q), l.q.rows, l.q.rows, l.q_bias}});
    turn(at(plan.q), l.q_norm, m.heads, l);
    attend(number, at(plan.q), at(plan.attended), 0, p.texts);
  }

  // Experts beside an MLP, which reads x.
  void feed_both(const Layer& l, int32_t number, const float* x) const {
    const Experts& e = *l.experts;
    ExpertsRun experts{kernel, m, e, plan, worker, memory, p.tokens};
    float* branch = at(plan.branch);
    experts.choose(norm(stream(), e.before_router, at(plan.read), p.tokens, m.hidden));
    experts.sort();
    experts.compute(norm(stream(), e.before_experts, at(plan.read), p.tokens, m.hidden));
    experts.add_up(nullptr, branch, 1.0f, false);
    norm(branch, e.after_experts, branch, p.tokens, m.hidden);
    experts.compute_shared(x, adapts(number));
    float* shared = at(plan.shared);
    norm(shared, e.after_shared, shared, p.tokens, m.hidden);
    Join both{};
    both.extra = shared, both.out = branch, both.rows = p.tokens, both.cols = m.hidden;
    both.scale = 1.0f, both.accumulate = true;
    kernel.join(worker, both);
    barrier(worker);
    join(l.after_mlp, m.residual_scale * l.feed_scale);
  }

  void feed(const Layer& l, int32_t number, const float* x) const {
    if (l.experts && l.experts->before_router.weight) return feed_both(l, number, x);
    if (l.experts) {
      ExpertsRun experts{kernel, m, *l.experts, plan, worker, memory, p.tokens};
      bool direct = !l.after_mlp.weight && !sum;
      float scale = m.residual_scale * l.feed_scale;
      experts.run(x, direct ? stream() : at(plan.branch), direct ? scale : 1.0f, direct, adapts(number));
      if (!direct) join(l.after_mlp, scale);
      return;
    }
    Prepared prepared = prepare(l.gate_up.format, x, p.tokens, m.hidden);
    float* gate = at(plan.inner);
    int64_t size = l.down.cols, width = l.gate_up.rows;
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
    if (l.own_input) OwnRun<Run>{*this}.add(*l.own_input, number);
    if (l.scalar == 1.0f) return;
    kernel.cap(worker, Cap{stream(), static_cast<int64_t>(p.tokens) * m.hidden, l.scalar, 0.0f});
    barrier(worker);
  }

  void run() const {
    embed();
    if (m.own_inputs) OwnRun<Run>{*this}.make();
    int32_t layer = 0;
    while (layer < m.num_layers && m.layers[layer].owner == layer) run_layer(layer++);
    if (layer == m.num_layers || p.num_wanted == p.tokens || p.query_scales) return finish(layer);
    if (!p.num_wanted) return;
    Pass fewer = only_wanted();
    Run{kernel, m, fewer, plan, sum, worker, memory}.finish(layer);
  }

  // The pass without positions that nobody asks for: none has to go through layers that leave no keys and values. Those
  // asked for are the last of their texts.
  Pass only_wanted() const {
    int32_t *rows = reinterpret_cast<int32_t*>(memory + plan.fewer), *wanted = rows + p.num_wanted;
    int32_t* starts = wanted + p.num_wanted;
    if (worker.index == 0) {
      int64_t own = m.own_inputs ? static_cast<int64_t>(m.own_inputs->width) * m.num_layers : 0;
      for (int32_t text = 0, done = starts[0] = 0; text < p.texts; starts[++text] = done)
        while (done < p.num_wanted && p.wanted[done] < p.query_start[text + 1]) done++;
      for (int32_t n = 0; n < p.num_wanted; n++) {
        rows[n] = p.rows[p.wanted[n]], wanted[n] = n;
        move_row(stream(), p.wanted[n], n, m.hidden);
        move_row(at(plan.own), p.wanted[n], n, own);
      }
    }
    barrier(worker);
    Pass fewer = p;
    fewer.tokens = p.num_wanted, fewer.rows = rows, fewer.wanted = wanted, fewer.query_start = starts;
    return fewer;
  }

  void move_row(float* x, int64_t from, int64_t to, int64_t cols) const {
    memmove(x + to * cols, x + from * cols, sizeof(float) * static_cast<size_t>(cols));
  }

  // The layers from one on, and the scores.
  void finish(int32_t layer) const {
    for (; layer < m.num_layers; layer++) run_layer(layer);
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
