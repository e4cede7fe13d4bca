// A chunk of text split into words and marks: llmkit/text/english/words.py in its order, for all but web addresses.
#include "text.h"

namespace {

// As llmkit/text/english/native.py numbers them.
enum CharacterClass : uint16_t {
  kFirst = 1 << 0,     // split off the front
  kLast = 1 << 1,      // split off the back
  kSign = 1 << 2,      // a word by itself wherever it stands
  kStoppable = 1 << 3, // a full stop behind it is split off
  kUpper = 1 << 4,
  kDotLeft = 1 << 5,   // left and right of a full stop that parts words
  kDotRight = 1 << 6,
  kLetter = 1 << 7,
  kLetterOrDigit = 1 << 8,
  kAlphabetic = 1 << 9,
  kSymbol = 1 << 10,
  kTerminal = 1 << 11,
  kPunctuation = 1 << 12,
  kDomain = 1 << 13,   // of a domain's last part
  kCurrency = 1 << 14,
  kKnown = 1 << 15,
};

// Bits of a word's facts behind those of the stop words: Fact of llmkit/text/word_table.py.
enum Fact : uint16_t {
  kIsSymbol = 1 << 8,
  kIsAlphabetic = 1 << 9,
  kEndsSentence = 1 << 10,
  kIsPunctuation = 1 << 11,
};

constexpr int32_t kMost = 256;           // code points of a chunk that is split here
constexpr int32_t kLongestSpecial = 16;  // code points

struct Span {
  int32_t from, to;
};

struct Spans {
  Span all[kMost];
  int32_t count = 0;
  void add(int32_t from, int32_t to) { all[count++] = {from, to}; }
};

class Chunk {
 public:
  Chunk(const SplitRules& rules, const uint8_t* bytes) : rules_(rules), bytes_(bytes) {}

  // False where the chunk is too long, or a character of it not known.
  bool decode(int64_t size) {
    int64_t at = 0;
    for (size_ = 0; at < size; ++size_) {
      if (size_ == kMost) return false;
      uint8_t first = bytes_[at];
      places_[size_] = static_cast<int32_t>(at);
      int32_t more = first < 0x80 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
      uint32_t code = more ? first & (0x3F >> more) : first;
      for (++at; more; --more) code = code << 6 | (bytes_[at++] & 0x3F);
      codes_[size_] = code;
      classes_[size_] = rules_.classes[code];
      if (!classes_[size_]) return false;
    }
    places_[size_] = static_cast<int32_t>(at);
    return true;
  }

  // False where it may be an address.
  bool split(Spans& words) {
    Spans back;
    int32_t from = 0, to = size_;
    const uint8_t* special = nullptr;
    while (from < to && !(special = special_in(from, to))) {
      int32_t first = prefix(from, to);
      if (first && (special = special_in(from + first, to))) {
        words.add(from, from + first);
        from += first;
        break;
      }
      int32_t last = suffix(from, from + first, to);
      if (last && (special = special_in(from, to - last))) {
        back.add(to - last, to);
        break;
      }
      if (!first && !last) break;
      if (first) words.add(from, from + first);
      if (last) back.add(to - last, to);
      from += first;
      to -= last;
    }
    if (special) {
      for (int32_t part = 0; part < 4 && special[part]; from += special[part++]) words.add(from, from + special[part]);
    } else if (from < to) {
      if (may_be_address(from, to)) return false;
      infixes(from, to, words);
    }
    while (back.count) {
      Span last = back.all[--back.count];
      words.add(last.from, last.to);
    }
    join(words);
    return true;
  }

  uint64_t hash(Span word) const {
    return hash_bytes(bytes_ + places_[word.from], places_[word.to] - places_[word.from]);
  }

  uint16_t facts(Span word, uint64_t hash) const {
    uint16_t any = 0, all = 0xFFFF, facts = 0;
    for (int32_t at = word.from; at < word.to; ++at) {
      any |= classes_[at];
      all &= classes_[at];
    }
    if (any & kAlphabetic) {
      facts = kIsAlphabetic;
      for (int32_t stop = 0; stop < rules_.num_stops; ++stop)
        if (rules_.stops[stop] == hash) facts |= static_cast<uint16_t>(1 << stop);
      return facts;
    }
    if (all & kSymbol) facts |= kIsSymbol;
    if (all & kTerminal && word.to - word.from == 1) facts |= kEndsSentence;
    if (all & kPunctuation) facts |= kIsPunctuation;
    return facts;
  }

 private:
  bool is(int32_t at, uint16_t any) const { return classes_[at] & any; }
  bool digit(int32_t at) const { return codes_[at] >= '0' && codes_[at] <= '9'; }
  bool apostrophe(int32_t at) const { return codes_[at] == '\'' || codes_[at] == 0x2019; }

  // The lengths of a special chunk's words; null where it is none.
  const uint8_t* special_in(int32_t from, int32_t to) const {
    if (from >= to || to - from > kLongestSpecial) return nullptr;
    uint64_t key = hash({from, to}), mask = static_cast<uint64_t>(rules_.slots) - 1, slot = key & mask;
    while (rules_.keys[slot] && rules_.keys[slot] != key) slot = (slot + 1) & mask;
    return rules_.keys[slot] ? rules_.parts + 4 * rules_.rows[slot] : nullptr;
  }

  int32_t run_of_dots(int32_t from, int32_t to) const {
    int32_t at = from;
    while (at < to && codes_[at] == '.') ++at;
    return at - from;
  }

  int32_t prefix(int32_t from, int32_t to) const {
    uint32_t code = codes_[from], next = to - from > 1 ? codes_[from + 1] : 0;
    if (code == '.') {
      int32_t dots = run_of_dots(from, to);
      return dots > 1 ? dots : 0;
    }
    if (code == 'U' && next == 'S' && to - from > 2 && codes_[from + 2] == '$') return 3;
    if ((code == 'C' || code == 'A') && next == '$') return 2;
    if (code == '+') return next >= '0' && next <= '9' ? 0 : 1;
    return is(from, kFirst) ? 1 : 0;
  }

  // Of the chunk from `from`, what is split off its back, and begins at `free` or behind it.
  int32_t suffix(int32_t from, int32_t free, int32_t to) const {
    int32_t at = to - 1, before = at - 1;
    if (at < free) return 0;
    if (codes_[at] == '.') {
      int32_t dots = 1;
      while (at - dots >= free && codes_[at - dots] == '.') ++dots;
      if (dots > 1) return dots;
      return before >= from && stop_is_split(from, before) ? 1 : 0;
    }
    if ((codes_[at] == 's' || codes_[at] == 'S') && before >= free && apostrophe(before)) return 2;
    if (codes_[at] == '+' && before >= from && digit(before)) return 1;
    for (int32_t length = 1; length <= 4 && at - length >= from && at - length + 1 >= free; ++length)
      if (digit(at - length)) {
        if (is_unit({at - length + 1, to})) return length;
        break;
      }
    return is(at, kLast) ? 1 : 0;
  }

  bool stop_is_split(int32_t from, int32_t before) const {
    if (is(before, kStoppable)) return true;
    if (before - 1 < from) return false;
    uint32_t code = codes_[before];
    return (is(before, kUpper) && is(before - 1, kUpper)) ||
           ((code == 'F' || code == 'C' || code == 'K') && codes_[before - 1] == 0xB0);
  }

  bool is_unit(Span span) const {
    if (span.to - span.from == 1 && is(span.from, kCurrency)) return true;
    uint64_t key = hash(span);
    for (int32_t unit = 0; unit < rules_.num_units; ++unit)
      if (rules_.units[unit] == key) return true;
    return false;
  }

  // Whether a full stop has behind it what a domain ends with, or there are the three of a number's address.
  bool may_be_address(int32_t from, int32_t to) const {
    int32_t dots = 0;
    for (int32_t at = from; at + 1 < to; ++at) {
      if (codes_[at] != '.') continue;
      if (digit(at + 1) && ++dots == 3) return true;
      if (at + 2 < to && is(at + 1, kDomain) && is(at + 2, kDomain)) return true;
    }
    return false;
  }

  void infixes(int32_t from, int32_t to, Spans& words) const {
    int32_t start = from;
    for (int32_t at = from; at < to;) {
      int32_t length = infix(from, at, to);
      if (length && at > from) {
        if (start < at) words.add(start, at);
        words.add(at, at + length);
        start = at + length;
      }
      at += length ? length : 1;
    }
    if (start < to) words.add(start, to);
  }

  int32_t infix(int32_t from, int32_t at, int32_t to) const {
    uint32_t code = codes_[at];
    if (code == '.') {
      int32_t dots = run_of_dots(at, to);
      if (dots > 1) return dots;
      return at > from && at + 1 < to && is(at - 1, kDotLeft) && is(at + 1, kDotRight) ? 1 : 0;
    }
    if (code == 0x2026 || is(at, kSign)) return 1;
    if (at == from || at + 1 >= to) return 0;
    switch (code) {
      case ',':
        return is(at - 1, kLetter) && is(at + 1, kLetter) ? 1 : 0;
      case ':': case '<': case '>': case '=': case '/':
        return is(at - 1, kLetterOrDigit) && is(at + 1, kLetter) ? 1 : 0;
      case '+': case '*': case '^': case '-':
        if (digit(at - 1) && (digit(at + 1) || codes_[at + 1] == '-')) return 1;
        if (code != '-') return 0;
        break;
      case 0x2013: case 0x2014: case '~':
        break;
      default:
        return 0;
    }
    if (!is(at - 1, kLetterOrDigit)) return 0;
    int32_t longest = code == '-' ? 3 : code == 0x2014 ? 2 : 1;
    int32_t same = 1;
    while (same < longest && at + same < to && codes_[at + same] == code) ++same;
    return at + same < to && is(at + same, kLetter) ? same : 0;  // a shorter run has a dash behind it, no letter
  }

  // Neighbours that are one special case together.
  void join(Spans& words) const {
    int32_t kept = 0;
    for (int32_t i = 0; i < words.count; ++i) {
      if (kept) {
        const uint8_t* parts = special_in(words.all[kept - 1].from, words.all[i].to);
        if (parts && !parts[1]) {
          words.all[kept - 1].to = words.all[i].to;
          continue;
        }
      }
      words.all[kept++] = words.all[i];
    }
    words.count = kept;
  }

  const SplitRules& rules_;
  const uint8_t* bytes_;
  int32_t size_ = 0;
  uint32_t codes_[kMost];
  uint16_t classes_[kMost];
  int32_t places_[kMost + 1];
};

}  // namespace

int64_t split_chunk(ChunkTable* table, const uint8_t* bytes, int64_t size) {
  Chunk chunk(*table->rules, bytes);
  Spans words;
  if (!chunk.decode(size) || !chunk.split(words)) return -1;
  for (int32_t i = 0; i < words.count; ++i) {
    int64_t to = table->num_words + i;
    table->hashes[to] = chunk.hash(words.all[i]);
    table->lengths[to] = words.all[i].to - words.all[i].from;
    table->facts[to] = chunk.facts(words.all[i], table->hashes[to]);
  }
  return words.count;
}
