// Threads of our own, and what a kernel sees of them.
//
// A region runs one body on every thread of a team. Inside, work is claimed from a shared cursor (uneven threads stay
// busy) and phases are separated by barriers, which rewind the cursor: at most one claimed loop between two barriers.
// Kernels are written so that who computes a piece never changes its bits.
//
// No templates and no std types here: this header is compiled into every instruction-set level, and the linker
// would keep only one copy of a shared inline function, maybe one the machine cannot run.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct Team {
  int32_t size = 1;
  int32_t arrived = 0;
  uint32_t generation = 0;
  int32_t sleepers = 0;
  alignas(64) int64_t cursor = 0;
};

struct Worker {
  Team* team;
  int32_t index;
  int32_t size;
  char* own;  // its own scratch memory
};

// First of `count` pieces that are now this worker's; ask again until it is not below your total.
static inline __attribute__((always_inline)) int64_t claim(Worker& worker, int64_t count) {
  return __atomic_fetch_add(&worker.team->cursor, count, __ATOMIC_RELAXED);
}

// Wait for the whole team; afterwards all its writes are visible and the cursor is 0.
void barrier(Worker& worker);

// Bytes of memory for a region, each part aligned to 64: what the team shares, and what each worker has of its own.
struct Scratch {
  size_t shared = 0, own = 0;
};

typedef void (*Body)(Worker& worker, char* shared, void* argument);

// Run `body` on every thread (on the caller alone if not `wide`). Regions of different callers take turns; only in its
// turn is it known how many threads a region has, and so how much memory. Returns false when memory or threads cannot
// be had.
bool run_region(Body body, void* argument, Scratch scratch, bool wide);

void set_threads(int32_t count);
int32_t threads();
