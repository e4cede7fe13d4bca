"""The functions over the native library alone; what they find is compared in tests/text."""

import numpy as np
import pytest

from llmkit.kernels.library import available
from llmkit.kernels.text import (
    ChunkIndex,
    SplitRules,
    WordBuffer,
    commonest_gram,
    find_elements,
    hash_word,
    repeated_grams,
)
from llmkit.text.word_table import hash_bytes

pytestmark = pytest.mark.skipif(not available(), reason="the native library is not built")


def test_chunks_are_numbered_as_they_are_first_met() -> None:
    index = ChunkIndex(16)
    assert index.find(b" bb a  bb ") == (3, [(0, b"bb"), (1, b"a")])
    assert index.find(b"a c") == (2, [(2, b"c")])
    assert index.num_chunks == 3
    assert index.find(b"") == (0, [])


def test_a_full_index_says_so_and_forgets_the_text() -> None:
    assert ChunkIndex(4).find(b"a b") == (2, [(0, b"a"), (1, b"b")])
    full = ChunkIndex(4)
    assert full.find(b"a b c") is None
    assert full.num_chunks == 0
    assert full.grown().find(b"a b c") == (3, [(0, b"a"), (1, b"b"), (2, b"c")])


def test_a_grown_index_knows_the_words_of_its_chunks() -> None:
    index, buffer = ChunkIndex(4), WordBuffer()
    index.find(b"a b")
    index.add(0, [(5, 1, 0)])
    index.add(1, [(6, 1, 2), (7, 3, 4)])
    larger = index.grown()
    count, waiting = larger.find(b"b a c") or (0, [])
    assert waiting == [(2, b"c")]
    assert buffer.hashes[: buffer.fill(larger, count)].tolist() == [6, 7, 5]


def test_words_longer_than_the_buffer_make_it_grow() -> None:
    index, buffer = ChunkIndex(16), WordBuffer()
    count, waiting = index.find(b"x " * 5000) or (0, [])
    assert waiting == [(0, b"x")]
    index.add(0, [(7, 1, 3), (8, 2, 4)])
    total = buffer.fill(index, count)
    assert total == 10_000 <= buffer.most
    assert buffer.hashes[:total].tolist() == [7, 8] * 5000
    assert buffer.lengths[:total].tolist() == [1, 2] * 5000
    assert buffer.facts[:total].tolist() == [3, 4] * 5000


def test_an_index_with_rules_splits_chunks_of_known_characters_alone() -> None:
    classes = np.zeros(0x110000, np.uint16)
    letter, stoppable, sign = (
        1 << 9 | 1 << 15,
        1 << 3 | 1 << 9 | 1 << 15,
        1 << 2 | 1 << 15,
    )  # of native/split.cpp
    for character, kind in (("a", stoppable), ("b", letter), ("m", letter), ("5", 1 << 15), ("+", sign)):
        classes[ord(character)] = kind
    classes[ord(".")] = 1 << 11 | 1 << 15
    index = ChunkIndex(32, SplitRules(classes, {"amb": (1, 2)}, ("mm",), ("b",)))
    buffer = WordBuffer()
    count, waiting = index.find(b"amb ba. ab. a+b 5mm b x") or (0, [])
    assert waiting == [(6, b"x")]
    total = buffer.fill(index, count)
    assert buffer.lengths[:total].tolist() == [1, 2, 2, 1, 3, 1, 1, 1, 1, 2, 1]
    assert (buffer.facts[:total] & 1).tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]  # b is the stop word
    classes[ord("x")] = letter
    assert index.split(6, b"x")
    assert buffer.fill(index, count) == 12


def test_words_have_the_hashes_of_the_plain_table() -> None:
    for word in (b"", b"a", b"eight by", b"nine byte", b"\0" * 17, "日本語".encode()):
        assert hash_word(word) == hash_bytes(word)


def test_elements_are_chunks_or_characters_and_the_bytes_they_are() -> None:
    text = " a\u00a0bé\n".encode()
    hashes, places = find_elements(text, characters=False)
    assert places.tolist() == [[1, 2], [4, 7]]
    assert hashes.tolist() == [hash_bytes(b"a"), hash_bytes("bé".encode())]
    hashes, places = find_elements(text, characters=True)
    assert places.tolist() == [[1, 2], [4, 5], [5, 7]]
    assert hashes.tolist() == [hash_bytes(one.encode()) for one in "abé"]


def test_grams_of_fewer_words_than_one_are_none() -> None:
    one, ends = np.array([5], np.uint64), np.array([0, 1], np.int64)
    assert commonest_gram(one, 2) == (0, 0)
    assert repeated_grams(one, ends, 2) == (0, 0)


def test_repeats_worked_by_hand() -> None:
    words, ends = np.array([1, 2, 1, 2, 1, 2, 3], np.uint64), np.arange(8)
    assert commonest_gram(words, 2) == (3, 0)
    assert repeated_grams(words, ends, 2) == (4, 4)
