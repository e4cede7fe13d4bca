"""Drawn words and numbers."""

import random
import uuid as standard

import pytest

from llmkit.probe.evaluate.words import QUALITIES, WORDS, letters, number, pick, picks, uuid


def test_no_word_is_in_a_list_twice() -> None:
    assert len(set(WORDS)) == len(WORDS) > 200
    assert len(set(QUALITIES)) == len(QUALITIES) > 80


def test_what_is_drawn_has_its_form() -> None:
    generator = random.Random(0)
    for _ in range(300):
        assert len(number(generator)) == 7
        assert standard.UUID(text := uuid(generator)).version == 4 and str(standard.UUID(text)) == text
        assert letters(generator, 5).isupper()
        assert pick(generator, "abc") in "abc"


def test_picks_takes_each_once_and_all_orders_come() -> None:
    generator = random.Random(0)
    assert {tuple(picks(generator, "abc", 3)) for _ in range(200)} == {
        tuple(order) for order in ("abc", "acb", "bac", "bca", "cab", "cba")
    }
    with pytest.raises(ValueError, match="4 of 3"):
        picks(generator, "abc", 4)


def test_a_seed_draws_what_it_drew_before() -> None:
    # of random() alone, whose numbers are the same in every Python
    assert [number(random.Random(5)), picks(random.Random(5), range(6), 3)] == ["6606115", [3, 4, 5]]
