"""The inverted index of some passages."""

import re
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.retrieve.postings import Postings, build_postings, merge_postings, word_numbers

TEXTS = st.lists(st.lists(st.sampled_from(["one", "two", "three", "four", "five"])).map(" ".join), max_size=6)


def content(postings: Postings) -> list[tuple[int, int, int]]:
    """(word, passage, count) of every posting, read the slow way."""
    return [
        (int(word), int(postings.passages[place]), int(postings.counts[place]))
        for number, word in enumerate(postings.words)
        for place in range(int(postings.starts[number]), int(postings.starts[number + 1]))
    ]


def expected(texts: list[str]) -> list[tuple[int, int, int]]:
    number = {word: int(word_numbers([word])[0][0]) for text in texts for word in text.split()}
    counts = [Counter(text.split()) for text in texts]
    rows = [(number[word], place, times) for place, own in enumerate(counts) for word, times in own.items()]
    return sorted(rows)


@settings(deadline=None)
@given(TEXTS)
def test_postings_are_the_counts_of_words(texts: list[str]) -> None:
    postings = build_postings(*word_numbers(texts))
    assert content(postings) == expected(texts)
    assert postings.lengths.tolist() == [len(text.split()) for text in texts]


@settings(deadline=None)
@given(TEXTS, TEXTS, st.data())
def test_merged_indexes_are_the_index_of_what_is_kept(
    first: list[str], second: list[str], data: st.DataObject
) -> None:
    parts, kept, stays = [], [], []
    for texts in (first, second):
        own = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
        parts.append(build_postings(*word_numbers(texts)))
        kept += [text for text, stay in zip(texts, own, strict=True) if stay]
        stays.append(np.array(own, bool))
    merged = merge_postings(parts, stays)
    assert content(merged) == expected(kept)
    assert merged.lengths.tolist() == [len(text.split()) for text in kept]


def test_words_are_told_apart_but_for_case_and_accents() -> None:
    texts = ["Café, CAFE!", "snake_case x1", "東京 tower"]
    words, offsets = word_numbers(texts)
    assert words[0] == words[1]
    assert np.diff(offsets).tolist() == [2, 2, 3]
    assert len(set(words.tolist())) == 6
    plain = [word for text in texts[:2] for word in re.findall(r"\w+", text)]
    assert len(plain) == offsets[2]
