// Words of a text and n-grams of words: one pass over the bytes, one table look-up a chunk or a gram.
#include "text.h"

#include <cstdlib>

#include "abi.h"

namespace {

// Bytes of the white space at `at`, by str.isspace; 0 where there is none.
int64_t white_space(const uint8_t* at, const uint8_t* end) {
  uint8_t first = *at;
  if (first <= 0x20) return first == 0x20 || (first >= 9 && first <= 13) || (first >= 0x1C && first <= 0x1F);
  if (first < 0xC2) return 0;
  if (first == 0xC2) return end - at > 1 && (at[1] == 0x85 || at[1] == 0xA0) ? 2 : 0;
  if (end - at < 3) return 0;
  if (first == 0xE1) return at[1] == 0x9A && at[2] == 0x80 ? 3 : 0;
  if (first == 0xE3) return at[1] == 0x80 && at[2] == 0x80 ? 3 : 0;
  if (first != 0xE2) return 0;
  if (at[1] == 0x80) return (at[2] >= 0x80 && at[2] <= 0x8A) || at[2] == 0xA8 || at[2] == 0xA9 || at[2] == 0xAF ? 3 : 0;
  return at[1] == 0x81 && at[2] == 0x9F ? 3 : 0;
}

// Bytes that no white space begins with.
struct Plain {
  bool is[256];
  constexpr Plain() : is() {
    for (int byte = 0; byte < 256; ++byte)
      is[byte] = byte > 0x20 && byte != 0xC2 && byte != 0xE1 && byte != 0xE2 && byte != 0xE3;
  }
};
constexpr Plain kPlain;

// A gram that was met: how often, and where first. Count 0 is an empty slot.
struct Gram {
  uint64_t code;
  int32_t first;
  int32_t count;
};

struct GramTable {
  Gram* grams;
  uint64_t mask;

  explicit GramTable(int64_t count) {
    uint64_t slots = 16;
    while (slots < static_cast<uint64_t>(count) * 2) slots *= 2;
    grams = static_cast<Gram*>(std::calloc(slots, sizeof(Gram)));
    mask = slots - 1;
  }
  ~GramTable() { std::free(grams); }

  Gram& at(uint64_t code) {
    uint64_t slot = (code ^ (code >> 32)) & mask;
    while (grams[slot].count && grams[slot].code != code) slot = (slot + 1) & mask;
    return grams[slot];
  }
};

uint64_t gram_code(const uint64_t* hashes, int64_t n) {
  uint64_t code = hashes[0];
  for (int64_t k = 1; k < n; ++k) code = code * kMultiplier + hashes[k];
  return code;
}

}  // namespace

// The rows of a text's chunks, into `rows`. New chunks are split; those that Python has to split come, with their row,
// offset and size, into `left`, how many into `num_left`. Returns the number of chunks; -1 where the table is full,
// which then has no more rows and words than before.
LLMKIT_API int64_t llmkit_text_chunks(ChunkTable* table, const uint8_t* text, int64_t size, int32_t* rows,
                                      int64_t* left, int64_t* num_left) {
  const uint8_t *at = text, *end = text + size;
  uint64_t mask = static_cast<uint64_t>(table->slots) - 1;
  int64_t count = 0, waiting = 0, rows_before = table->num_rows, words_before = table->num_words;
  while (at < end) {
    int64_t space = white_space(at, end);
    if (space) {
      at += space;
      continue;
    }
    const uint8_t* start = at;
    while (at < end && (kPlain.is[*at] || !white_space(at, end))) ++at;
    uint64_t key = hash_bytes(start, at - start);
    uint64_t slot = key & mask;
    while (table->keys[slot] && table->keys[slot] != key) slot = (slot + 1) & mask;
    if (!table->keys[slot]) {
      if (table->num_rows == table->most_rows) {
        table->num_rows = rows_before;
        table->num_words = words_before;
        return -1;
      }
      int64_t row = table->num_rows++;
      table->keys[slot] = key;
      table->rows[slot] = static_cast<int32_t>(row);
      int64_t words = table->rules ? split_chunk(table, start, at - start) : -1;
      table->starts[row] = table->num_words;
      table->counts[row] = words < 0 ? 0 : words;
      if (words < 0) {
        left[3 * waiting] = row;
        left[3 * waiting + 1] = start - text;
        left[3 * waiting + 2] = at - start;
        ++waiting;
      } else {
        table->num_words += words;
      }
    }
    rows[count++] = table->rows[slot];
  }
  *num_left = waiting;
  return count;
}

// Split the chunk of a row that was left to Python. False where Python has to do it.
LLMKIT_API bool llmkit_text_split(ChunkTable* table, int64_t row, const uint8_t* chunk, int64_t size) {
  int64_t words = split_chunk(table, chunk, size);
  if (words < 0) return false;
  table->starts[row] = table->num_words;
  table->counts[row] = words;
  table->num_words += words;
  return true;
}

// The chunks of a text, or its characters that are no white space: the hash of each, and where it begins and ends, pairs
// of bytes into `places`. Returns how many.
LLMKIT_API int64_t llmkit_text_elements(const uint8_t* text, int64_t size, bool characters, uint64_t* hashes,
                                        int64_t* places) {
  const uint8_t *at = text, *end = text + size;
  int64_t count = 0;
  while (at < end) {
    int64_t space = white_space(at, end);
    if (space) {
      at += space;
      continue;
    }
    const uint8_t* start = at++;
    if (characters)
      while (at < end && (*at & 0xC0) == 0x80) ++at;
    else
      while (at < end && (kPlain.is[*at] || !white_space(at, end))) ++at;
    hashes[count] = hash_bytes(start, at - start);
    places[2 * count] = start - text;
    places[2 * count + 1] = at - text;
    ++count;
  }
  return count;
}

// The hash of some bytes.
LLMKIT_API uint64_t llmkit_text_hash(const uint8_t* data, int64_t size) { return hash_bytes(data, size); }

// The words of some rows, one after another. Returns how many; nothing is written where that is more than `most`.
LLMKIT_API int64_t llmkit_text_words(const ChunkTable* table, const int32_t* rows, int64_t num_rows, int64_t most,
                                     uint64_t* hashes, int64_t* lengths, uint16_t* facts) {
  int64_t total = 0;
  for (int64_t i = 0; i < num_rows; ++i) total += table->counts[rows[i]];
  if (total > most) return total;
  for (int64_t i = 0, to = 0; i < num_rows; ++i) {
    int64_t from = table->starts[rows[i]];
    for (int64_t k = 0; k < table->counts[rows[i]]; ++k, ++from, ++to) {
      hashes[to] = table->hashes[from];
      lengths[to] = table->lengths[from];
      facts[to] = table->facts[from];
    }
  }
  return total;
}

// The commonest n-gram of `num_words` words, the earliest of equals: how often it occurs, where it first stands.
LLMKIT_API bool llmkit_text_commonest(const uint64_t* hashes, int64_t num_words, int64_t n, int64_t* often,
                                      int64_t* place) {
  int64_t count = num_words - n + 1;
  *often = *place = 0;
  if (count <= 0) return true;
  GramTable table(count);
  if (!table.grams) return false;
  for (int64_t i = 0; i < count; ++i) {
    uint64_t code = gram_code(hashes + i, n);
    Gram& gram = table.at(code);
    if (!gram.count++) {
      gram.code = code;
      gram.first = static_cast<int32_t>(i);
    }
    if (gram.count > *often || (gram.count == *often && gram.first < *place)) {
      *often = gram.count;
      *place = gram.first;
    }
  }
  return true;
}

// Characters of the words inside n-grams that came before (`covered`), and of n-grams that came before when a
// reader goes on after each one (`leaping`). `ends` are the running totals of the words' lengths, from 0.
LLMKIT_API bool llmkit_text_repeated(const uint64_t* hashes, const int64_t* ends, int64_t num_words, int64_t n,
                                     int64_t* covered, int64_t* leaping) {
  int64_t count = num_words - n + 1;
  *covered = *leaping = 0;
  if (count <= 0) return true;
  GramTable table(count);
  if (!table.grams) return false;
  int64_t done = 0;  // words before it are counted in `covered`
  bool any = false;
  for (int64_t i = 0; i < count; ++i) {
    uint64_t code = gram_code(hashes + i, n);
    Gram& gram = table.at(code);
    if (!gram.count++) {
      gram.code = code;
      continue;
    }
    any = true;
    *covered += ends[i + n] - ends[i < done ? done : i];
    done = i + n;
  }
  if (!any) return true;
  std::memset(table.grams, 0, (table.mask + 1) * sizeof(Gram));
  for (int64_t i = 0; i < count;) {
    uint64_t code = gram_code(hashes + i, n);
    Gram& gram = table.at(code);
    if (gram.count) {
      *leaping += ends[i + n] - ends[i];
      i += n;
    } else {
      gram.count = 1;
      gram.code = code;
      ++i;
    }
  }
  return true;
}
