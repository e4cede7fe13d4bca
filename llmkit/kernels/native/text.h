// Words of a text and n-grams of words, for the rules of `clean`: see llmkit/kernels/text.py.
#pragma once
#include <cstdint>

// The chunks between white space that were seen before, and their words one after another.
struct ChunkTable {
  uint64_t* keys;         // slots: a chunk's hash, 0 where empty
  int32_t* rows;          // slots: its row
  int64_t slots;          // a power of two
  int64_t num_rows;       // rows given out so far
  int64_t most_rows;      // no more than that are given out
  const int64_t* starts;  // a row's first word
  const int64_t* counts;  // how many words it has
  const uint64_t* hashes;
  const int64_t* lengths;
  const uint16_t* facts;
};
