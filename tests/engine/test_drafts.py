"""Guesses out of the text itself."""

import random

import pytest

from llmkit.engine.drafts import PromptLookup
from llmkit.engine.text import Text
from tests.written_texts import known


def _guess(lookup: PromptLookup, text: Text, most: int) -> list[int]:
    """For one text."""
    (guesses,) = lookup.propose([text], [most])
    return guesses


def _slow(tokens: list[int], count: int, longest: int, shortest: int) -> list[int]:
    """What followed the last place of the longest run, by looking everywhere, and then what followed that."""
    for length in range(longest, shortest - 1, -1):
        end = tokens[-length:]
        for begin in range(len(tokens) - length - 1, -1, -1):
            if len(end) == length and tokens[begin : begin + length] == end:
                told = list(tokens)
                for place in range(begin + length, begin + length + count):
                    told.append(told[place])
                return told[len(tokens) :]
    return []


@pytest.mark.parametrize("vocab", [2, 3, 6])
def test_guesses_are_what_followed_the_longest_run_when_it_came_last(vocab: int) -> None:
    chance = random.Random(vocab)
    for count, longest, shortest in ((8, 4, 2), (3, 3, 1), (5, 2, 2)):
        lookup = PromptLookup(count, longest, shortest)
        text = known(0, [chance.randrange(vocab) for _ in range(5)])
        for _ in range(60):
            text.tokens += [chance.randrange(vocab) for _ in range(chance.randint(1, 3))]
            assert _guess(lookup, text, 99) == _slow(text.tokens, count, longest, shortest)


@pytest.mark.parametrize("period", [[5], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5, 6, 7]], ids=len)
def test_a_text_that_repeats_itself_is_guessed_to_go_on_beyond_its_end(period: list[int]) -> None:
    text = known(0, [9, *period * 3])
    assert _guess(PromptLookup(8), text, 99) == (period * 8)[:8]
    text.tokens += period[:1]
    assert _guess(PromptLookup(8), text, 99) == (period * 9)[1:9]


def test_never_more_is_proposed_than_there_is_room_for() -> None:
    lookup, text = PromptLookup(), known(0, [1, 2, 3, 4, 5, 6, 7, 1, 2])
    assert [_guess(lookup, text, most) for most in (0, 1, 3)] == [[], [3], [3, 4, 5]]


def test_each_text_has_its_own_runs() -> None:
    lookup = PromptLookup()
    texts = [known(0, [1, 2, 3, 1, 2]), known(1, [1, 2]), known(2, [7, 7, 7])]
    assert lookup.propose(texts, [9, 9, 0]) == [[3, 1, 2, 3, 1, 2, 3, 1], [], []]
    lookup = PromptLookup()
    assert _guess(lookup, known(0, [1, 2, 3, 1, 2]), 9) == [3, 1, 2, 3, 1, 2, 3, 1]
    assert _guess(lookup, known(1, [1, 2]), 9) == []


def test_a_text_whose_guesses_are_wrong_is_left_alone_for_longer_and_longer() -> None:
    lookup, text = PromptLookup(), known(0, [1, 2, 3, 1, 2])
    rests, resting = [], 0
    for _ in range(400):
        guesses = _guess(lookup, text, 9)
        if guesses:
            if resting:
                rests.append(resting)
            resting = 0
            lookup.learn(text, len(guesses), 0)
        else:
            resting += 1
    assert len(rests) >= 3 and rests == sorted(rests) and rests[-1] > 2 * rests[0]


def test_a_text_whose_guesses_are_right_is_never_left_alone() -> None:
    lookup, text = PromptLookup(), known(0, [1, 2, 3, 1, 2])
    for _ in range(100):
        guesses = _guess(lookup, text, 9)
        assert guesses
        lookup.learn(text, len(guesses), 1)


def test_what_is_over_is_forgotten() -> None:
    lookup, text = PromptLookup(), known(0, [1, 2, 3, 1, 2])
    _guess(lookup, text, 9)
    lookup.forget(text)
    lookup.forget(text)
    lookup.learn(text, 3, 0)
    assert lookup._places == {}
