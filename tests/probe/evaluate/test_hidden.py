"""Hay made to measure, beside a search that tries every amount."""

import random

import pytest

from llmkit.errors import UsageError
from llmkit.probe.evaluate.hidden import Hay, Hidden, fit, insert, split_sentences


def _made(count: int) -> Hidden:
    return Hidden("x" * (3 * count + 7), "", ())


def _tokens(hidden: Hidden) -> int:
    return len(hidden.prompt)


@pytest.mark.parametrize("guess", [1, 2, 5, 17, 400])
def test_fit_finds_what_trying_all_amounts_finds(guess: int) -> None:
    for most in range(10, 200):
        slow = max(count for count in range(1, 200) if _tokens(_made(count)) <= most)
        assert fit(_made, _tokens, most, least=1, guess=guess) == slow


def test_what_has_no_room_is_refused() -> None:
    with pytest.raises(UsageError, match="13 tokens with the least hay, and 12"):
        fit(_made, _tokens, 12, least=2)


def test_needles_stand_where_their_depth_says() -> None:
    hay = [str(number) for number in range(10)]
    assert insert(hay, [(0.0, "N")])[0] == "N"
    assert insert(hay, [(1.0, "N")])[-1] == "N"
    assert insert(hay, [(0.25, "N")]).index("N") == int(10 * 0.25)
    generator = random.Random(1)
    needles = [(generator.random(), f"N{number}") for number in range(5)]
    found = insert(hay, needles)
    assert [one for one in found if not one.startswith("N")] == hay
    for depth, name in needles:  # as many hay sentences stand before it
        assert sum(not one.startswith("N") for one in found[: found.index(name)]) == int(10 * depth)


def test_sentences_end_with_their_marks() -> None:
    text = "It is 3.14 now.  Really?\nYes! and on"
    assert list(split_sentences(text)) == ["It is 3.14 now.", "Really?", "Yes!", "and on"]


def test_a_short_text_is_said_again() -> None:
    assert Hay(("a.", "b.")).take(5) == ["a.", "b.", "a.", "b.", "a."]
