// Where the intermediate values of a pass lie in the region's scratch memory.
#pragma once
#include <string.h>

#include <initializer_list>

#include "forward.h"
#include "forward_latent_plan.h"

namespace {

// Offsets; all aligned to 64 bytes.
struct Plan {
  size_t x, normed, fed, q, k, v, attended, branch, inner, last, prepared, partial, own_bytes, total;
  size_t narrow;  // of adapters
  size_t fewer;   // of positions asked for: their rows, and where texts begin among them
  size_t own, own_gate, read;  // own embeddings, a layer's gate, and what experts beside an MLP read
  size_t gates;   // of attention, or of a state
  size_t mixed, convolved, rates;  // of states
  size_t low, wide, blended, rows_kept, kept_prepared, keys, values;  // of latents
  // of experts
  size_t scores, chosen, weights, places, starts, sources, cursors, rows, expert_inner, expert_prepared, shared;
};

// How much of it experts take, at most, whatever layer they are in.
struct ExpertRoom {
  int64_t num_experts = 0, per_token = 0, intermediate = 0, shared_intermediate = 0;
};

// The same of states, a row of whose products is so wide, and of the gate of attention.
struct StateRoom {
  int64_t mixed = 0, convolved = 0, rates = 0, gates = 0, read = 0;
};

void make_room(StateRoom& room, const Layer& l) {
  auto grow = [](int64_t& size, int64_t other) { size = size > other ? size : other; };
  grow(room.gates, l.attention_gate.rows);
  if (!l.state) return;
  grow(room.mixed, l.state->inputs.rows);
  grow(room.convolved, l.state->value_heads ? l.state->channels : 0);
  grow(room.rates, 2 * l.state->value_heads);
  grow(room.gates, l.state->gate.rows);
  grow(room.read, l.state->out.data ? l.state->out.cols : l.o.cols);
}

// The experts of a layer prepare their rows one after the other: prepared_bytes grows evenly with the rows, from what
// no rows take. No more experts are in use than there are rows.
size_t prepared_apart_bytes(const Kernels& kernel, int32_t format, int64_t rows, int64_t experts, int64_t cols) {
  int64_t used = experts < rows ? experts : rows;
  size_t each = kernel.prepared_bytes(format, 0, cols) + 64;
  return kernel.prepared_bytes(format, rows, cols) + each * static_cast<size_t>(used);
}

// The widest of a model's layers with heads.
struct HeadRoom {
  int64_t queries = 0, keys = 0;  // numbers of a token
  size_t partial = 0, tile = 0;   // of attention
};

// With latents, all heads read one key as wide as what is kept, and of it the first numbers as its value.
Attention attention_of(const Model& m, const Layer& l, const Pass& p) {
  Attention a;
  memset(&a, 0, sizeof a);
  const Latent* latent = l.latent;
  a.heads = m.heads, a.kv_heads = latent ? 1 : l.kv_heads;
  a.key_dim = latent ? latent->kept + latent->rotated : l.head_dim, a.value_dim = latent ? latent->kept : l.head_dim;
  int64_t row = p.kv_row;
  a.block_table = p.block_tables, a.query_start = p.query_start, a.lengths = p.lengths;
  a.q_stride = static_cast<int64_t>(m.heads) * a.key_dim, a.out_stride = static_cast<int64_t>(m.heads) * a.value_dim;
  a.k_block = a.v_block = p.block_size * row, a.k_token = a.v_token = row, a.k_head = a.v_head = a.key_dim;
  a.scale_block = p.block_size * p.scale_row, a.scale_token = p.scale_row, a.scale_head = 1;
  a.table_stride = p.table_stride, a.kv_type = p.kv_type, a.block_size = p.block_size;
  a.sequences = p.texts, a.scale = m.scale, a.softcap = m.softcap, a.chunked = m.chunked;
  return a;
}

HeadRoom head_room(const Kernels& kernel, const Model& m, const Pass& p) {
  HeadRoom room;
  int32_t heads = 0, dim = 0;  // of the layer before: most are alike
  for (int32_t number = 0; number < m.num_layers; number++) {
    const Layer& l = m.layers[number];
    if (number && l.kv_heads == heads && l.head_dim == dim) continue;
    heads = l.kv_heads, dim = l.head_dim;
    Attention a = attention_of(m, l, p);  // without a window, which only makes it smaller
    int64_t queries = static_cast<int64_t>(m.heads) * l.head_dim, keys = static_cast<int64_t>(a.kv_heads) * a.key_dim;
    room.queries = queries > room.queries ? queries : room.queries;
    room.keys = keys > room.keys ? keys : room.keys;
    room.partial = most(room.partial, kernel.attention_partial_bytes(a));
    room.tile = most(room.tile, kernel.attention_tile_bytes(a));
  }
  return room;
}

Plan plan_of(const Kernels& kernel, const Model& m, const Pass& p) {
  const Latent* latent = m.layers[0].latent;
  HeadRoom heads = head_room(kernel, m, p);
  int64_t n = p.tokens;
  Plan plan;
  size_t at = 0, prepared = 0, apart = 0;
  auto take = [&](size_t bytes) { size_t here = at; at += aligned(bytes); return here; };
  auto floats = [&](int64_t count) { return take(sizeof(float) * static_cast<size_t>(count)); };
  auto prepares = [&](const Weight& w) {
    if (w.data) prepared = most(prepared, kernel.prepared_bytes(w.format, n, w.cols));
  };

  ExpertRoom room;
  StateRoom states;
  int64_t inner = 0;
  bool has_beside = false;
  for (int32_t number = 0; number < m.num_layers; number++) {
    const Layer& l = m.layers[number];
    for (const Weight* w : {&l.q, &l.k, &l.v, &l.o, &l.gate_up, &l.down, &l.attention_gate}) prepares(*w);
    inner = l.gate_up.rows > inner ? l.gate_up.rows : inner;
    if (l.latent) prepares(l.latent->q_a);
    if (l.own_input)
      for (const Weight* w : {&l.own_input->gate, &l.own_input->projection}) prepares(*w);
    if (l.state)
      for (const Weight* w : {&l.state->inputs, &l.state->gate, &l.state->rates, &l.state->out}) prepares(*w);
    make_room(states, l);
    if (!l.experts) continue;
    const Experts& e = *l.experts;
    has_beside |= e.before_router.weight != nullptr;
    for (const Weight* w : {&e.router, &e.shared_gate_up, &e.shared_down}) prepares(*w);
    room = ExpertRoom{e.num_experts, e.per_token, e.intermediate, e.shared_intermediate};
    int64_t rows = n * e.per_token;
    for (const Weight* w : {&e.gate_up[0], &e.down[0]})
      apart = most(apart, prepared_apart_bytes(kernel, w->format, rows, e.num_experts, w->cols));
  }
  if (2 * room.shared_intermediate > inner) inner = 2 * room.shared_intermediate;
  if (p.num_wanted) prepared = most(prepared, kernel.prepared_bytes(m.head.format, p.num_wanted, m.hidden));

  plan.x = floats(n * m.hidden);
  plan.normed = floats(n * m.hidden);
  plan.fed = m.residual == kParallel ? floats(n * m.hidden) : plan.normed;
  plan.q = floats(n * heads.queries);
  plan.k = floats(n * heads.keys);
  plan.v = latent ? 0 : floats(n * heads.keys);
  int64_t attended = latent ? static_cast<int64_t>(m.heads) * latent->value : heads.queries;
  plan.attended = floats(n * (states.read > attended ? states.read : attended));
  plan.gates = floats(n * states.gates);
  plan.mixed = floats(n * states.mixed);
  plan.convolved = floats(n * states.convolved);
  plan.rates = floats(n * states.rates);
  if (latent) {
    Attention a = attention_of(m, m.layers[0], p);
    ExpandedRoom expanded = expanded_room(m, *latent, p);
    plan.low = floats(n * latent->q_a.rows);
    plan.wide = floats(n * a.q_stride);
    plan.blended = floats(n * a.out_stride);
    plan.rows_kept = floats(expanded.held * a.key_dim);
    plan.kept_prepared = take(kernel.prepared_bytes(latent->keys[0].format, expanded.held, latent->kept));
    plan.keys = floats(expanded.keys * m.head_dim);
    plan.values = floats(expanded.keys * latent->value);
  }
  plan.branch = floats(n * m.hidden);
  plan.inner = floats(n * inner);
  plan.last = floats(static_cast<int64_t>(p.num_wanted) * m.hidden);
  plan.narrow = p.adapters ? floats(n * 3 * p.most_rank) : 0;
  plan.prepared = take(prepared);
  int64_t rows = n * room.per_token;
  plan.scores = floats(n * (room.num_experts + 1));
  plan.chosen = take(sizeof(int32_t) * rows);
  plan.weights = floats(rows);
  plan.places = take(sizeof(int32_t) * rows);
  plan.sources = take(sizeof(int32_t) * rows);
  plan.starts = take(sizeof(int32_t) * (room.num_experts + 1));
  plan.cursors = take(sizeof(Team) * 4 * room.num_experts);
  plan.rows = floats(rows * m.hidden);
  plan.expert_inner = floats(rows * 2 * room.intermediate);
  plan.expert_prepared = take(apart);
  plan.shared = room.shared_intermediate ? floats(n * m.hidden) : 0;
  const OwnInputs* own = m.own_inputs;
  if (own) prepares(own->projection);
  plan.own = floats(own ? n * own->width * m.num_layers : 0);
  plan.fewer = take(sizeof(int32_t) * (2 * static_cast<size_t>(p.num_wanted) + p.texts + 1));
  plan.own_gate = floats(own ? n * own->width : 0);
  plan.read = floats(has_beside ? n * m.hidden : 0);
  plan.partial = take(heads.partial);
  size_t choosing = sizeof(float) * 3 * static_cast<size_t>(room.num_experts);
  plan.own_bytes = aligned(most(most(kernel.multiply_bytes(), heads.tile), choosing));
  if (own) plan.own_bytes = most(plan.own_bytes, aligned(sizeof(float) * static_cast<size_t>(own->width) * m.num_layers));
  if (latent) plan.own_bytes = most(plan.own_bytes, aligned(latent_own_bytes(kernel, m, *latent)));
  plan.total = at;
  return plan;
}

}  // namespace
