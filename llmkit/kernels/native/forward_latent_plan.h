// Which way latent attention takes for a text, and the memory that it needs.
#pragma once
#include <string.h>

#include <initializer_list>

#include "forward.h"

namespace {

constexpr int64_t kLatentRows = 64;             // positions of one head that a worker multiplies at once
constexpr int64_t kExpandedFloats = 8 << 20;  // of keys and values that are made at once, unless one head has more

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t most(size_t a, size_t b) { return a > b ? a : b; }

// Whether making keys and values of all that a text keeps costs less than reading what is kept with wider queries.
// Multiplications of a head, T new positions of S:
//   expanded  S C (N + U)  keys and values     T S (N + R + U)  scores and sums
//   absorbed  T C (N + U)  queries, results    T S (2 C + R)
// A text that is written stays absorbed, so that it is the same whatever came with it.
bool expands(const Latent& l, const Pass& p, int32_t text) {
  int64_t rows = p.query_start[text + 1] - p.query_start[text], held = p.lengths[text];
  int64_t wider = 2 * static_cast<int64_t>(l.kept) - l.plain - l.value, made = l.plain + l.value;
  return rows > 1 && l.kept * made * (held - rows) < rows * held * wider;
}

int64_t heads_at_once(const Model& m, const Latent& l, int64_t held) {
  int64_t each = held * (m.head_dim + l.value), fit = each ? kExpandedFloats / each : 0;
  return fit < 1 ? 1 : fit < m.heads ? fit : m.heads;
}

// What any one text that is expanded needs at most. A shorter one may have more keys, as more heads are made at once.
struct ExpandedRoom {
  int64_t held = 0, keys = 0;  // positions; keys of the heads that are made at once
};

ExpandedRoom expanded_room(const Model& m, const Latent& l, const Pass& p) {
  ExpandedRoom room;
  for (int32_t text = 0; text < p.texts; text++) {
    if (!expands(l, p, text)) continue;
    int64_t held = p.lengths[text], keys = held * heads_at_once(m, l, held);
    room.held = held > room.held ? held : room.held;
    room.keys = keys > room.keys ? keys : room.keys;
  }
  return room;
}

// Attention over keys and values of `heads` heads that lie side by side.
Attention expanded_attention(const Model& m, const Latent& l, int64_t heads) {
  Attention a;
  memset(&a, 0, sizeof a);
  int64_t key = m.head_dim, value = l.value;
  a.q_stride = m.heads * key, a.out_stride = m.heads * value;
  a.k_token = heads * key, a.k_head = key, a.v_token = heads * value, a.v_head = value;
  a.kv_type = kFloat32, a.sequences = 1, a.heads = a.kv_heads = static_cast<int32_t>(heads);
  a.key_dim = m.head_dim, a.value_dim = l.value, a.scale = m.scale, a.softcap = m.softcap;
  return a;
}

// Memory of one worker's own.
size_t latent_own_bytes(const Kernels& kernel, const Model& m, const Latent& l) {
  size_t prepared = 0;
  for (const Weight* w : {l.into, l.values})
    prepared = most(prepared, kernel.prepared_bytes(w->format, kLatentRows, w->cols));
  return most(aligned(kernel.multiply_bytes()) + prepared, kernel.attention_tile_bytes(expanded_attention(m, l, 1)));
}

// Values of a cache in float32.
void read_values(const void* from, int32_t type, int64_t at, int64_t count, float* to) {
  if (type == kFloat32) memcpy(to, static_cast<const float*>(from) + at, sizeof(float) * static_cast<size_t>(count));
  if (type != kBfloat16) return;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(from)[at + i]) << 16;
    memcpy(to + i, &bits, sizeof bits);
  }
}

}  // namespace
