"""Whether guesses pay, where what passes cost is known by hand."""

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest

from llmkit.engine.gain import Gain


@dataclass
class Machine:
    """Passes of known cost: one without guesses takes a second."""

    gain: Gain
    texts: int = 1
    guess_seconds: float = 0.25
    verify_seconds: float = 1.0
    tokens: float = 2.0
    """Of each text, drawn with guesses."""

    def run(self, passes: int) -> list[bool]:
        """Which of the passes had guesses."""
        return [self.step() for _ in range(passes)]

    def step(self) -> bool:
        """One pass."""
        if guessed := self.gain.wants_guesses(self.texts):
            self.gain.learn(
                texts=self.texts,
                guessed=True,
                tokens=round(self.tokens * self.texts),
                seconds=self.verify_seconds,
                guess_seconds=self.guess_seconds,
            )
        else:
            self.gain.learn(texts=self.texts, guessed=False, tokens=self.texts, seconds=1.0)
        return guessed


def test_a_few_passes_of_each_kind_come_first_and_what_wins_stays() -> None:
    machine = Machine(Gain(trial=6))
    passes = machine.run(1000)
    assert passes[:12] == [False] * 6 + [True] * 6
    assert passes[12:70] == [True] * 58  # and then six passes without, in every seventy
    assert passes[70:76] == [False] * 6
    assert sum(passes) == pytest.approx(1000 * 64 / 70, abs=10)
    assert not machine.gain.is_off and machine.gain.times_off == 0


def test_guesses_that_lose_are_off_and_tried_again_after_twice_as_long_each_time() -> None:
    machine = Machine(Gain(trial=6), tokens=1.0)
    passes = machine.run(20_000)
    tries = [place for place in range(1, len(passes)) if passes[place] and not passes[place - 1]]
    waits = [later - earlier - 6 for earlier, later in pairwise(tries)]
    assert waits == [32, 64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096]
    assert sum(passes) == 6 * len(tries) < 0.01 * len(passes)
    assert machine.gain.is_off and machine.gain.times_off == len(tries)


def test_guesses_that_are_far_slower_are_given_up_sooner() -> None:
    machine = Machine(Gain(trial=6), tokens=1.0, verify_seconds=3.0)
    assert machine.run(6 + 3 + 32 + 3) == [False] * 6 + [True] * 3 + [False] * 32 + [True] * 3
    assert machine.gain.times_off == 2


def test_the_speedup_is_the_time_without_guesses_over_the_time_taken() -> None:
    machine = Machine(Gain(trial=6))
    assert machine.gain.speedup is None
    guessed = sum(machine.run(500))
    plain = 500 - guessed
    assert machine.gain.speedup == pytest.approx((plain + 2.0 * guessed) / (plain + 1.25 * guessed))
    slow = Machine(Gain(trial=6), tokens=1.0)
    guessed = sum(slow.run(500))
    assert slow.gain.speedup == pytest.approx(500 / (500 + 0.25 * guessed))
    assert 0.95 < slow.gain.speedup < 1


def test_guesses_that_begin_to_win_are_found_and_those_that_begin_to_lose_too() -> None:
    machine = Machine(Gain(), tokens=1.0)
    machine.run(300)
    assert machine.gain.is_off
    machine.tokens = 3.0
    machine.run(300)
    assert not machine.gain.is_off and sum(machine.run(100)) > 85
    machine.tokens = 1.0
    assert sum(machine.run(200)) < 70


def test_a_batch_of_another_size_is_another_case() -> None:
    gain = Gain()
    alone, many = Machine(gain), Machine(gain, texts=16, verify_seconds=3.0)
    for _ in range(20):
        alone.run(10), many.run(10)
    assert sum(alone.run(64)) > 55 and not gain.is_off
    assert sum(many.run(64)) < 10 and gain.is_off


def test_passes_for_which_there_was_nothing_to_guess_are_passes_without() -> None:
    gain = Gain(trial=2)
    for _ in range(2):
        gain.learn(texts=1, guessed=False, tokens=1, seconds=1.0)
    for _ in range(500):  # looked for, at a cost, and nothing found
        assert gain.wants_guesses(1)
        gain.learn(texts=1, guessed=False, tokens=1, seconds=1.0, guess_seconds=0.01)
    assert gain.speedup == pytest.approx(502 / (502 + 5.0))
    assert gain.wants_guesses(1)  # what has been spent is to be earned now: 2 tokens in 6.1 seconds
    gain.learn(texts=1, guessed=True, tokens=2, seconds=1.0, guess_seconds=0.1)
    assert not gain.wants_guesses(1) and gain.is_off


@pytest.mark.parametrize("tokens", [0.8, 1.6])
def test_noise_does_not_hide_what_is_the_quicker_way(tokens: float) -> None:
    chance = random.Random(0)
    gain = Gain()
    guesses = 0
    for _ in range(4000):
        guessed = gain.wants_guesses(1)
        guesses += guessed
        drawn = sum(chance.random() < tokens / 4 for _ in range(4)) if guessed else 1
        gain.learn(texts=1, guessed=guessed, tokens=drawn, seconds=chance.uniform(0.7, 1.3))
    assert guesses < 400 if tokens < 1 else guesses > 2400
