"""Repeated substrings, against slices counted one by one."""

import random
from collections import Counter

import pytest

from llmkit.tokens.substrings import NONE, Words, repeated_substrings


def _words(seed: int, alphabet: str = "abπ😀") -> dict[str, int]:
    chance = random.Random(seed)
    words = {"".join(chance.choices(alphabet, k=chance.randint(1, 9))) for _ in range(40)}
    return {word: chance.randint(1, 5) for word in sorted(words)}


def _slow(words: dict[str, int], longest: int) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + longest) + 1):
                counts[word[start:end]] += count
    return {text: count for text, count in counts.items() if len(text) == 1 or count > 1}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("longest", [1, 4, 16])
def test_they_are_the_slices_that_occur_twice_and_all_characters(seed: int, longest: int) -> None:
    words = _words(seed)
    laid = Words.of(list(words), list(words.values()))
    found = repeated_substrings(laid, longest)
    texts = [
        laid.text(int(start), int(size)) for start, size in zip(found.position, found.length, strict=True)
    ]
    assert dict(zip(texts, found.count.tolist(), strict=True)) == _slow(words, longest)
    assert texts == sorted(texts, key=lambda text: (len(text), text))


def test_the_table_names_the_substring_at_each_place() -> None:
    words = _words(1)
    laid = Words.of(list(words), list(words.values()))
    found = repeated_substrings(laid, 4)
    expected = _slow(words, 4)
    joined = "".join(words)
    for place in range(len(joined)):
        room = int(laid.room[place])
        for size, column in enumerate(found.table, 1):
            index = int(column[place])
            text = joined[place : place + size]
            if size <= room and text in expected:
                assert laid.text(int(found.position[index]), int(found.length[index])) == text
            else:
                assert index == NONE


def test_a_substring_never_crosses_from_one_word_to_the_next() -> None:
    laid = Words.of(["ab", "ca", "bc"], [1, 1, 1])  # end to end: abcabc
    assert len(repeated_substrings(laid, 3)) == 3


def test_it_stops_where_nothing_repeats_any_more() -> None:
    assert len(repeated_substrings(Words.of(["abab", "xy"], [1, 1]), 16).table) == 3  # ab, then nothing
