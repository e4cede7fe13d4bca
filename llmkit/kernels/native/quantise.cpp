// The C functions that put weights on a grid; arguments are checked in llmkit/kernels/quantise.py.
#include <string.h>

#include "kernels.h"
#include "region.h"

namespace {

constexpr int64_t kBlocksAtOnce = 256;  // that a thread writes before it asks for more
constexpr uint64_t kLowNibbles = 0x0f0f0f0f0f0f0f0f, kLowBits = 0x0101010101010101;

// Eight bytes of 0 or 1 as the bits of one: each moves to its place in the highest.
uint8_t gathered(uint64_t bytes) { return static_cast<uint8_t>(bytes * 0x0102040810204080 >> 56); }

template <int BITS>
void write_blocks(Worker& worker, const Blocks& a) {
  const size_t fields = a.m ? 4 : 2, high = BITS == 5 ? 4 : 0, size = fields + high + (BITS == 8 ? 32 : 16);
  for (int64_t begin; (begin = claim(worker, kBlocksAtOnce)) < a.count;) {
    int64_t end = begin + kBlocksAtOnce < a.count ? begin + kBlocksAtOnce : a.count;
    for (int64_t i = begin; i < end; i++) {
      const uint8_t* codes = a.codes + i * 32;
      uint8_t* out = a.out + static_cast<size_t>(i) * size;
      memcpy(out, a.d + i, 2);
      if (a.m) memcpy(out + 2, a.m + i, 2);
      out += fields;
      if constexpr (BITS == 8) {
        for (int j = 0; j < 32; j++) out[j] = static_cast<uint8_t>(codes[j] - 127);
        continue;
      }
      uint64_t words[4];
      memcpy(words, codes, 32);
      if constexpr (BITS == 5)
        for (int j = 0; j < 4; j++) out[j] = gathered(words[j] >> 4 & kLowBits);
      for (int j = 0; j < 2; j++) {
        uint64_t both = (words[j] & kLowNibbles) | (words[j + 2] & kLowNibbles) << 4;
        memcpy(out + high + 8 * j, &both, 8);
      }
    }
  }
}

}  // namespace

LLMKIT_API bool llmkit_blocks(const Blocks* blocks) {
  auto write = blocks->bits == 8 ? write_blocks<8> : blocks->bits == 5 ? write_blocks<5> : write_blocks<4>;
  return region([&](Worker& worker, char*) { write(worker, *blocks); }, blocks->count * 32);
}

LLMKIT_API bool llmkit_search(const Search* search) {
  return region([&](Worker& worker, char*) { kernels()->search(worker, *search, worker.own); },
                search->groups * search->width, Scratch{0, kernels()->groups_bytes(search->width)});
}

LLMKIT_API bool llmkit_neighbours(const Neighbours* of) {
  return region([&](Worker& worker, char*) { kernels()->neighbours(worker, *of, worker.own); },
                of->groups * of->width, Scratch{0, kernels()->groups_bytes(of->width)});
}

LLMKIT_API bool llmkit_nearest_codes(const Coding* coding) {
  return region([&](Worker& worker, char*) { kernels()->nearest_codes(worker, *coding); },
                coding->rows * coding->cols);
}

LLMKIT_API bool llmkit_code_values(const Coding* coding) {
  return region([&](Worker& worker, char*) { kernels()->code_values(worker, *coding); },
                coding->rows * coding->cols);
}

LLMKIT_API bool llmkit_feedback(const Feedback* feedback) {
  return region([&](Worker& worker, char*) { kernels()->feedback(worker, *feedback, worker.own); },
                feedback->rows * feedback->count, Scratch{0, kernels()->feedback_bytes(*feedback)});
}
