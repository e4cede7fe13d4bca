// Latent attention inside a pass. A text's keys and values are made of what is kept ("expanded") where it reads many
// positions at once; where it writes, its queries read what is kept as it is ("absorbed"): q . (K c) = (K^T q) . c.
#pragma once
#include "forward_plan.h"

namespace {

template <class Run>
struct LatentRun {
  const Run& run;
  const Layer& l;
  const Latent& latent;
  int32_t number;

  const Model& m = run.m;
  const Pass& p = run.p;
  const Plan& plan = run.plan;
  Worker& worker = run.worker;
  int64_t key = latent.plain + latent.rotated, width = latent.kept + latent.rotated, H = m.heads;
  int64_t made = latent.plain + latent.value;  // of a head, out of what is kept
  float* q = run.at(plan.q);  // (tokens, H, key)

  void norm(float* x, const float* weight, int64_t cols, int64_t stride) const {
    run.kernel.rms_norm(worker, RmsNorm{x, weight, x, p.tokens, cols, stride, stride, latent.epsilon, 0.0f});
    barrier(worker);
  }

  // The last numbers of every head.
  void rotate(float* x, int32_t heads, int64_t size) const {
    if (l.angles < 0) return;
    float* last = x + size - latent.rotated;
    run.kernel.rotary(worker, Rotary{last, p.cosine[l.angles], p.sine[l.angles], p.rows, p.tokens, heads * size, heads,
                                     static_cast<int32_t>(size), latent.rotated});
    barrier(worker);
  }

  // What a text's adapter adds to what makes keys and values, or null.
  const LowRank* change_of(int32_t text) const {
    const LowRank* adapter = p.adapters ? p.adapters[text] : nullptr;
    if (!adapter) return nullptr;
    const LowRank* one = adapter + static_cast<int64_t>(number) * kAdditions + kAddV;
    return one->a ? one : nullptr;
  }

  // each(addition, position): of so many new positions from `row` on those whose text has one.
  template <class Each>
  void each_changed(int64_t row, int64_t rows, Each each) const {
    if (!p.adapters) return;
    int32_t text = 0;
    for (int64_t at = row; at < row + rows; at++) {
      while (p.query_start[text + 1] <= at) text++;
      if (const LowRank* one = change_of(text)) each(*one, at);
    }
  }

  // y, what W made of what is kept of a position, with the addition; `first`: of W's rows.
  void change(const LowRank& one, const float* kept, float* y, int64_t first, int64_t count) const {
    if (one.factors)
      for (int64_t i = 0; i < count; i++) y[i] *= one.factors[first + i];
    run.kernel.low_rank_row(
        LowRankRow{kept, one.a, one.b + first, y, latent.kept, latent.kept, H * made, count, one.rank});
  }

  // Queries, and what is kept of the new positions.
  void project(const float* x) const {
    const Weight& first = latent.q_a.data ? latent.q_a : l.q;
    float *rows = run.at(plan.k), *low = run.at(plan.low);
    Prepared prepared = run.prepare(l.k.format, x, p.tokens, m.hidden);
    run.multiply(l.k, prepared, rows, l.k_bias, false);
    run.adapt(number, kAddK, x, m.hidden, m.hidden, {{rows, width, width, l.k_bias}});
    if (first.format != l.k.format) prepared = run.prepare(first.format, x, p.tokens, m.hidden);
    if (latent.q_a.data) {
      run.multiply(first, prepared, low, latent.q_a_bias, false);
      run.adapt(number, kAddAttentionGate, x, m.hidden, m.hidden, {{low, first.rows, first.rows, latent.q_a_bias}});
      norm(low, latent.q_norm, first.rows, first.rows);
      run.multiply(l.q, run.prepare(l.q.format, low, p.tokens, l.q.cols), q, l.q_bias, false);
      run.adapt(number, kAddQ, low, l.q.cols, l.q.cols, {{q, l.q.rows, l.q.rows, l.q_bias}});
    } else {
      run.multiply(l.q, prepared, q, l.q_bias, false);
      run.adapt(number, kAddQ, x, m.hidden, m.hidden, {{q, l.q.rows, l.q.rows, l.q_bias}});
    }
    rotate(q, m.heads, key);
    norm(rows, latent.kv_norm, latent.kept, width);
    rotate(rows, 1, width);
    const int32_t* places = p.places + static_cast<int64_t>(p.group_of[number]) * p.tokens;
    run.kernel.keep(worker, Keep{rows, p.keys[number], nullptr, places, p.tokens, 1, static_cast<int32_t>(width),
                                 p.kv_type, p.kv_row, p.scale_row});
    barrier(worker);
  }

  // y = x W^T for some rows, by one worker alone: a head's matrix is small, and another worker has another head.
  void product(const Weight& w, const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows,
               bool accumulate = false) const {
    Team team;
    Worker alone{&team, 0, 1, worker.own};
    Prepared prepared = run.kernel.lay_out(w.format, rows, w.cols, worker.own + aligned(run.kernel.multiply_bytes()));
    run.kernel.prepare(alone, prepared, kFloat32, x, x_stride, w.cols);
    team.cursor = 0;
    run.kernel.multiply(alone, w, prepared, Output{y, y_stride, nullptr, accumulate}, worker.own);
  }

  // each(head, row, rows): some of the new positions from `first` to `end`, in one head.
  template <class Each>
  void each_head(int64_t first, int64_t end, Each each) const {
    int64_t pieces = (end - first + kLatentRows - 1) / kLatentRows;
    for (int64_t task; (task = claim(worker, 1)) < H * pieces;) {
      int64_t row = first + task % pieces * kLatentRows;
      each(task / pieces, row, end - row < kLatentRows ? end - row : kLatentRows);
    }
    barrier(worker);
  }

  // What positions of the texts from `first` to `end` take home, (tokens, H, value).
  void absorb(int32_t first, int32_t end) const {
    int64_t from = p.query_start[first], to = p.query_start[end], C = latent.kept, U = latent.value;
    float *wide = run.at(plan.wide), *mixed = run.at(plan.blended), *out = run.at(plan.attended);
    each_head(from, to, [&](int64_t head, int64_t row, int64_t rows) {
      const float* x = q + (row * H + head) * key;
      float* y = wide + (row * H + head) * width;
      if (p.adapters)
        for (int64_t r = 0; r < rows; r++) memset(y + r * H * width, 0, sizeof(float) * static_cast<size_t>(C));
      each_changed(row, rows, [&](const LowRank& one, int64_t at) {  // q . (f W + B A) c = ((f q) W + (q B) A) . c
        float* asked = q + (at * H + head) * key;
        const float* out = one.b + head * made;
        run.kernel.low_rank_row(LowRankRow{asked, out, one.a, wide + (at * H + head) * width, latent.plain, H * made, C, C,
                                           one.rank});
        if (one.factors)
          for (int64_t i = 0; i < latent.plain; i++) asked[i] *= one.factors[head * made + i];
      });
      product(latent.into[head], x, H * key, y, H * width, rows, p.adapters != nullptr);
      for (int64_t r = 0; r < rows; r++)
        memcpy(y + r * H * width + C, x + r * H * key + latent.plain, sizeof(float) * latent.rotated);
    });
    run.attend(number, wide, mixed, first, end - first);
    each_head(from, to, [&](int64_t head, int64_t row, int64_t rows) {
      product(latent.values[head], mixed + (row * H + head) * C, H * C, out + (row * H + head) * U, H * U, rows);
      each_changed(row, rows, [&](const LowRank& one, int64_t at) {
        change(one, mixed + (at * H + head) * C, out + (at * H + head) * U, head * made + latent.plain, U);
      });
    });
  }

  // All that a text keeps, as float32, and ready to be multiplied.
  Prepared gather(int32_t text) const {
    int64_t held = p.lengths[text];
    float* rows = run.at(plan.rows_kept);
    const int32_t* table = p.block_tables + (static_cast<int64_t>(p.group_of[number]) * p.texts + text) * p.table_stride;
    for (int64_t at = worker.index; at < held; at += worker.size) {
      int64_t place = (static_cast<int64_t>(table[at / p.block_size]) * p.block_size + at % p.block_size) * width;
      read_values(p.keys[number], p.kv_type, place, width, rows + at * width);
    }
    barrier(worker);
    const Weight& first = latent.keys[0];
    Prepared prepared = run.kernel.lay_out(first.format, held, first.cols, run.memory + plan.kept_prepared);
    run.kernel.prepare(worker, prepared, kFloat32, rows, width, first.cols);
    barrier(worker);
    return prepared;
  }

  // Keys and values of `heads` heads from `head` on: (held, heads, key) and (held, heads, value).
  void expand_heads(const Prepared& prepared, const LowRank* one, int64_t head, int64_t heads) const {
    int64_t U = latent.value, held = prepared.batch;
    float *keys = run.at(plan.keys), *values = run.at(plan.values), *rows = run.at(plan.rows_kept);
    for (int64_t i = 0; i < heads; i++) {
      run.kernel.multiply(worker, latent.keys[head + i], prepared, Output{keys + i * key, heads * key, nullptr, false},
                          worker.own);
      barrier(worker);
      run.kernel.multiply(worker, latent.values[head + i], prepared, Output{values + i * U, heads * U, nullptr, false},
                          worker.own);
      if (one) barrier(worker);
      for (int64_t at = worker.index; at < held; at += worker.size) {
        const float* kept = rows + at * width;
        float *k = keys + (at * heads + i) * key, *v = values + (at * heads + i) * U;
        memcpy(k + latent.plain, kept + latent.kept, sizeof(float) * static_cast<size_t>(latent.rotated));  // all heads'
        if (!one) continue;
        change(*one, kept, k, (head + i) * made, latent.plain);
        change(*one, kept, v, (head + i) * made + latent.plain, U);
      }
      barrier(worker);
    }
  }

  // The same as `absorb`, of one text, some heads at a time.
  void expand(int32_t text) const {
    int32_t starts[2] = {0, p.query_start[text + 1] - p.query_start[text]};
    Prepared prepared = gather(text);
    int64_t at_once = heads_at_once(m, latent, prepared.batch), from = p.query_start[text];
    for (int64_t head = 0; head < H; head += at_once) {
      int64_t heads = H - head < at_once ? H - head : at_once;
      expand_heads(prepared, change_of(text), head, heads);
      Attention a = expanded_attention(m, latent, heads);
      a.q = q + (from * H + head) * key, a.out = run.at(plan.attended) + (from * H + head) * latent.value;
      a.k = run.at(plan.keys), a.v = run.at(plan.values), a.query_start = starts, a.lengths = p.lengths + text;
      a.window = l.window;
      run.kernel.attend(worker, a, run.at(plan.partial), worker.own);
      barrier(worker);
    }
  }

  void look(const float* x) const {
    project(x);
    for (int32_t text = 0, end; text < p.texts; text = end) {
      for (end = text; end < p.texts && !expands(latent, p, end);) end++;
      if (end > text) absorb(text, end);
      else expand(end++);
    }
  }
};

}  // namespace
