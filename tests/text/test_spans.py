"""Words in a row, against slices of plain lists."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.kernels.library import available
from llmkit.text.exact_pieces import without
from llmkit.text.spans import covered, elements, spans_of, windows
from tests.text.clean_texts import TEXTS


@settings(deadline=None)
@given(TEXTS)
def test_words_are_what_stands_between_white_space(text: str) -> None:
    numbers, places = elements(text, "word", use_native=False)
    words = text.split()
    assert [text[start:stop] for start, stop in places.tolist()] == words
    assert len({*numbers.tolist()}) == len({*words})
    characters, places = elements(text, "char", use_native=False)
    assert [text[start:stop] for start, stop in places.tolist()] == list("".join(words))
    assert len({*characters.tolist()}) == len({*"".join(words)})


@pytest.mark.skipif(not available(), reason="the native library is not built")
@settings(deadline=None)
@given(TEXTS)
def test_the_native_library_finds_the_same_words(text: str) -> None:
    for unit in ("word", "char"):
        native, plain = elements(text, unit, use_native=True), elements(text, unit, use_native=False)
        assert native[0].tolist() == plain[0].tolist()
        assert native[1].tolist() == plain[1].tolist()


@pytest.mark.parametrize("length", [1, 2, 7])
def test_windows_are_equal_where_their_words_are(length: int) -> None:
    rng = random.Random(length)
    words = [rng.choice("abc") for _ in range(400)]
    numbers = windows(elements(" ".join(words), "word")[0], length).tolist()
    slices = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    assert len(numbers) == len(slices)
    assert len({*zip(numbers, slices, strict=True)}) == len({*numbers}) == len({*slices})


def test_a_window_has_its_number_wherever_it_stands() -> None:
    for before in ("", "x ", "x y z " * 5000):
        text = before + "one two three"
        assert (
            windows(elements(text, "word")[0], 3)[-1] == windows(elements("one two three", "word")[0], 3)[0]
        )


def test_fewer_words_than_a_window_have_none() -> None:
    assert len(windows(elements("one two", "word")[0], 3)) == 0
    assert len(windows(elements("", "word")[0], 1)) == 0


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 9))
def test_a_word_is_covered_by_any_window_over_it(again: list[bool], length: int) -> None:
    expected = [
        any(again[start] for start in range(len(again)) if start <= word < start + length)
        for word in range(len(again) + length - 1)
    ]
    assert covered(np.array(again), length).tolist() == expected


@pytest.mark.parametrize(
    ("text", "marked", "left"),
    [
        ("a B C d", "BC", "a d"),
        ("A b", "A", "b"),
        ("a B", "B", "a"),
        ("a B\n", "B", "a "),
        ("A B", "AB", ""),
        ("a\n\nB C\n\nd", "BC", "a\n\nd"),
        ("a B C\n\nd", "BC", "a \n\nd"),
        ("a\nB c D", "BD", "a\nc"),
        ("é B ü", "B", "é ü"),
    ],
)
def test_spans_go_with_white_space_and_leave_paragraphs_apart(text: str, marked: str, left: str) -> None:
    _, places = elements(text, "word")
    inside = np.array([word in marked for word in text.split()])
    pieces = spans_of(text, places, inside)
    assert without(text, pieces) == left
    found = " ".join(text[piece.start : piece.stop] for piece in pieces)
    assert found.split() == [word for word in text.split() if word in marked]
