// A region of the pool from a lambda, for the C functions that Python calls; no level includes this (see pool.h).
#pragma once
#include "pool.h"

namespace {

constexpr int64_t kWorthSharing = 16384;  // values below which waking threads costs more than it saves

// Run call(worker, shared) as one region, on every thread where it is about so many values.
template <class Call>
bool region(Call call, int64_t values, Scratch scratch = {}) {
  return run_region([](Worker& worker, char* shared, void* raw) { (*static_cast<Call*>(raw))(worker, shared); },
                    &call, scratch, values >= kWorthSharing);
}

}  // namespace
