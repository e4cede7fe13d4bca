// One instruction-set level: every kernel, instantiated in the including file, in a table that dispatch chooses from.
#pragma once
#include "attention.h"
#include "attention_tasks.h"
#include "coding.h"
#include "cross_entropy.h"
#include "delta_rule.h"
#include "elementwise.h"
#include "gate_learn.h"
#include "keep.h"
#include "low_rank.h"
#include "neighbours.h"
#include "pack.h"
#include "pack_grouped.h"
#include "read_memory.h"
#include "residual.h"
#include "rotate_learn.h"
#include "search.h"
#include "state_space.h"

namespace {

Kernels level_table(const char* name) {
  fill_tiles();
  fill_grouped_tiles();
  fill_widened_tiles();
  Kernels table;
  table.name = name;
  table.packed_bytes = packed_bytes;
  table.pack = pack;
  table.pack_coded = pack_coded;
  table.coded_row = coded_row;
  table.prepared_bytes = prepared_bytes;
  table.lay_out = lay_out;
  table.prepare = prepare;
  table.multiply_bytes = multiply_bytes;
  table.multiply = multiply;
  table.rms_norm = rms_norm;
  table.rotary = rotary;
  table.gated = gated;
  table.layer_norm = layer_norm;
  table.join = join;
  table.cap = cap;
  table.keep = keep;
  table.convolve = convolve;
  table.delta_ready = delta_ready;
  table.delta_rule = delta_rule;
  table.space_ready = space_ready;
  table.state_space = state_space;
  table.gated_norm = gated_norm;
  table.low_rank_in = low_rank_in;
  table.low_rank_out = low_rank_out;
  table.low_rank_row = low_rank_row;
  table.attention_partial_bytes = attention_partial_bytes;
  table.attention_tile_bytes = attention_tile_bytes;
  table.attend = attend;
  table.learn_scratch = learn_scratch;
  table.learn_attention = learn_attention;
  table.cross_entropy = cross_entropy;
  table.learn_gate = learn_gate;
  table.learn_rotation = learn_rotation;
  table.read_memory = read_memory;
  table.groups_bytes = groups_bytes;
  table.search = search;
  table.neighbours = neighbours;
  table.nearest_codes = nearest_codes;
  table.code_values = code_values;
  table.feedback_bytes = feedback_bytes;
  table.feedback = feedback;
  return table;
}

}  // namespace
