// The C functions that put weights on a grid; arguments are checked in llmkit/kernels/quantise.py.
#include "kernels.h"

namespace {

constexpr int64_t kWorthSharing = 16384;  // weights below which waking threads costs more than it saves

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// One region, in which each worker has `own` bytes of memory.
template <class Call>
bool region(Call call, size_t own, int64_t weights) {
  struct Job {
    Call& call;
    size_t own;
  } job{call, aligned(own)};
  return run_region(
      [](Worker& worker, char* scratch, void* raw) {
        Job& mine = *static_cast<Job*>(raw);
        mine.call(worker, scratch + static_cast<size_t>(worker.index) * mine.own);
      },
      &job, static_cast<size_t>(threads()) * job.own, weights >= kWorthSharing);
}

}  // namespace

LLMKIT_API bool llmkit_search(const Search* search) {
  return region([&](Worker& worker, char* memory) { kernels()->search(worker, *search, memory); },
                kernels()->groups_bytes(search->width), search->groups * search->width);
}

LLMKIT_API bool llmkit_neighbours(const Neighbours* of) {
  return region([&](Worker& worker, char* memory) { kernels()->neighbours(worker, *of, memory); },
                kernels()->groups_bytes(of->width), of->groups * of->width);
}

LLMKIT_API bool llmkit_nearest_codes(const Coding* coding) {
  return region([&](Worker& worker, char*) { kernels()->nearest_codes(worker, *coding); }, 0,
                coding->rows * coding->cols);
}

LLMKIT_API bool llmkit_code_values(const Coding* coding) {
  return region([&](Worker& worker, char*) { kernels()->code_values(worker, *coding); }, 0,
                coding->rows * coding->cols);
}

LLMKIT_API bool llmkit_feedback(const Feedback* feedback) {
  return region([&](Worker& worker, char* memory) { kernels()->feedback(worker, *feedback, memory); },
                kernels()->feedback_bytes(*feedback), feedback->rows * feedback->count);
}
