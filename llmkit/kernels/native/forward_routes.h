// Which experts a token goes to, and what each of them counts for. model/router.py is the twin.
#pragma once
#include "forward.h"

namespace {

// The best `count` of `values`, best first; of equal ones the lower number first. `taken`: as many flags as values.
inline void best_of(const float* values, int32_t size, int32_t count, int32_t* taken, int32_t* best) {
  for (int32_t i = 0; i < size; i++) taken[i] = 0;
  for (int32_t rank = 0; rank < count; rank++) {
    int32_t top = -1;
    for (int32_t i = 0; i < size; i++)
      if (!taken[i] && (top < 0 || values[i] > values[top])) top = i;
    taken[top] = 1;
    best[rank] = top;
  }
}

// Leave a token its best groups of experts: the others' worth falls to minus infinity. arXiv:2405.04434, 2.1.2.
inline void keep_groups(const Experts& e, float* worth, float* memory, int32_t* flags) {
  int32_t size = e.num_experts / e.num_groups, counted = e.group_scores < size ? e.group_scores : size;
  float* totals = memory;
  for (int32_t g = 0; g < e.num_groups; g++) {
    int32_t best[2];
    best_of(worth + g * size, size, counted, flags, best);
    totals[g] = worth[g * size + best[0]] + (counted > 1 ? worth[g * size + best[1]] : 0.0f);
  }
  for (int32_t g = 0; g < e.num_groups; g++) flags[g] = 0;
  for (int32_t rank = 0; rank < e.top_groups; rank++) {
    int32_t top = -1;
    for (int32_t g = 0; g < e.num_groups; g++)
      if (!flags[g] && (top < 0 || totals[g] > totals[top])) top = g;
    flags[top] = 1;
  }
  for (int32_t i = 0; i < e.num_experts; i++)
    if (!flags[i / size]) worth[i] = -__builtin_inff();
}

// scores: (X) logits, then what they come to. chosen, weights: (per_token). memory: 3 X floats.
inline void route(const Experts& e, float* scores, int32_t* chosen, float* weights, float* memory) {
  int32_t count = e.num_experts;
  float* worth = memory;
  for (int32_t i = 0; i < count; i++) worth[i] = scores[i];
  if (e.scoring == kSoftmax) {
    float highest = scores[0], sum = 0;
    for (int32_t i = 1; i < count; i++) highest = scores[i] > highest ? scores[i] : highest;
    for (int32_t i = 0; i < count; i++) sum += scores[i] = __builtin_expf(scores[i] - highest);
    for (int32_t i = 0; i < count; i++) scores[i] /= sum;
  } else {
    for (int32_t i = 0; i < count; i++) scores[i] = 1.0f / (1.0f + __builtin_expf(-scores[i]));
  }
  int32_t* flags = reinterpret_cast<int32_t*>(memory + count);
  if (!e.weighs_inputs)  // where inputs are weighed, logits choose: large ones are 1 alike behind the sigmoid
    for (int32_t i = 0; i < count; i++) worth[i] = scores[i] + (e.selection_bias ? e.selection_bias[i] : 0.0f);
  if (e.num_groups > 1) keep_groups(e, worth, memory + 2 * count, flags);
  best_of(worth, count, e.per_token, flags, chosen);
  float sum = 0;
  for (int32_t i = 0; i < e.per_token; i++) sum += weights[i] = scores[chosen[i]];
  float factor = e.scaling;
  if (e.normalised) factor /= sum + (e.scoring == kSigmoid ? 1e-20f : 0.0f);  // sigmoids may all be 0
  for (int32_t i = 0; i < e.per_token; i++)
    weights[i] *= e.expert_scales ? factor * e.expert_scales[chosen[i]] : factor;
}

}  // namespace
