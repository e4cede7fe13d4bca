// silu(gate) * up (arXiv:2002.05202), and backwards both slopes in one pass: numbers are read and written in their own
// type and worked out in float32.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

constexpr int64_t kGateRun = 4096;  // numbers of a task

static void learn_gate(Worker& worker, const LearntGate& a) {
  int64_t tasks = (a.count + kGateRun - 1) / kGateRun;
  for (int64_t task; (task = claim(worker, 1)) < tasks;) {
    int64_t end = (task + 1) * kGateRun < a.count ? (task + 1) * kGateRun : a.count;
    for (int64_t at = task * kGateRun; at < end; at += kLanes) {
      int64_t left = end - at;
      F gate = load_first_as(a.gate, a.type, at, left), up = load_first_as(a.up, a.type, at, left);
      F open = sigmoid(gate), silu = mul(gate, open);
      if (!a.d_out) {
        store_first_as(a.out, a.type, at, mul(silu, up), left);
        continue;
      }
      F slope = load_first_as(a.d_out, a.type, at, left);
      store_first_as(a.d_up, a.type, at, mul(slope, silu), left);
      F rise = fma(silu, sub(set1(1.0f), open), open);  // of silu at gate
      store_first_as(a.d_gate, a.type, at, mul(mul(slope, up), rise), left);
    }
  }
}

}  // namespace
