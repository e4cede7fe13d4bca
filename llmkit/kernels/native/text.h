// Words of a text and n-grams of words, for the rules of `clean`: see llmkit/kernels/text.py.
#pragma once
#include <cstdint>
#include <cstring>

// How English is split into words: llmkit/text/english/native.py makes it of the rules in Python.
struct SplitRules {
  const uint16_t* classes;  // what each code point is (CharacterClass), 0 where nobody has asked yet
  const uint64_t* keys;     // slots: the hash of a special chunk, 0 where empty
  const int32_t* rows;      // slots: its row
  int64_t slots;            // a power of two
  const uint8_t* parts;     // 4 a row: code points of each of its words, then 0
  const uint64_t* units;    // hashes of what a number ends with
  const uint64_t* stops;    // hashes of the stop words: the first bits of a word's facts, in this order
  int32_t num_units;
  int32_t num_stops;
};

// The chunks between white space that were seen before, and their words one after another.
struct ChunkTable {
  uint64_t* keys;    // slots: a chunk's hash, 0 where empty
  int32_t* rows;     // slots: its row
  int64_t slots;     // a power of two
  int64_t num_rows;  // rows given out so far
  int64_t most_rows; // no more than that are given out
  int64_t* starts;   // a row's first word
  int64_t* counts;   // how many words it has
  int64_t num_words; // there is room for as many more as a text has bytes
  uint64_t* hashes;
  int64_t* lengths;
  uint16_t* facts;
  const SplitRules* rules;  // null: no chunk is split here
};

constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15ull;  // as in llmkit/text/{grams,word_table}.py

inline uint64_t mixed(uint64_t a, uint64_t b) {
  __uint128_t product = static_cast<__uint128_t>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// `hash_bytes` of llmkit/text/word_table.py.
inline uint64_t hash_bytes(const uint8_t* data, int64_t size) {
  uint64_t hash = mixed(static_cast<uint64_t>(size) ^ 0x2D358DCCAA6C78A5ull, 0x8BB84B93962EACC9ull);
  for (; size > 0; data += 8, size -= 8) {
    uint64_t word = 0;
    std::memcpy(&word, data, size < 8 ? static_cast<size_t>(size) : 8);
    hash = mixed(hash ^ word, kMultiplier);
  }
  hash = mixed(hash ^ 0x4B33A62ED433D4A3ull, 0x4D5A2DA51DE1AA47ull);
  return hash ? hash : 1;  // 0 marks an empty slot
}

// The words of a chunk, behind the table's words. Returns how many, -1 where Python has to say.
int64_t split_chunk(ChunkTable* table, const uint8_t* chunk, int64_t size);
