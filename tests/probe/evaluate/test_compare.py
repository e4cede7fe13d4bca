"""Paired tests beside the enumeration of every outcome, written without them."""

import itertools
import math
from fractions import Fraction

import pytest

from llmkit.probe.evaluate.compare import mcnemar, sign_flip, two_sided


def _by_coins(lost: int, won: int) -> Fraction:
    """Every throw of a fair coin for each changed record: the share of outcomes no likelier than this one."""
    throws = list(itertools.product((0, 1), repeat=lost + won))
    extreme = abs(won - lost)
    reached = sum(abs(2 * sum(throw) - len(throw)) >= extreme for throw in throws)
    return Fraction(reached, len(throws))


@pytest.mark.parametrize("lost", range(7))
@pytest.mark.parametrize("won", range(7))
def test_mcnemar_is_the_share_of_coin_throws_as_uneven(lost: int, won: int) -> None:
    assert mcnemar(lost, won) == pytest.approx(float(_by_coins(lost, won)), rel=1e-12)


def test_mcnemar_of_many_does_not_overflow() -> None:
    assert mcnemar(0, 2000) == pytest.approx(2 * 0.5**2000, abs=1e-300)
    assert 0.9 < mcnemar(1000, 1002) <= 1


@pytest.mark.parametrize(
    "differences",
    [[1.0], [1.0, 2.0], [0.5, -0.25, 1.0], [3, 3, 3, 3, -1, 2], [0.1] * 8, [0.0, 0.0, 2.0, -1.0]],
)
def test_few_differences_are_tried_with_every_sign(differences: list[float]) -> None:
    exact = [Fraction(one) for one in differences]
    sums = [
        abs(sum((s * d for s, d in zip(signs, exact, strict=True)), Fraction()))
        for signs in itertools.product((1, -1), repeat=len(exact))
    ]
    expected = sum(one >= abs(sum(exact)) for one in sums) / len(sums)
    assert sign_flip(differences) == pytest.approx(expected, rel=1e-12)


def test_many_differences_of_one_sign_are_beyond_chance_and_balanced_ones_are_not() -> None:
    assert sign_flip([0.1 + 0.01 * n for n in range(40)]) == pytest.approx(1 / 10_001)
    assert sign_flip([(-1.0) ** n for n in range(40)]) == 1.0


def test_random_signs_come_near_to_the_exact_answer_of_the_binomial() -> None:
    differences = [1.0] * 14 + [-1.0] * 6  # equal sizes: the test is McNemar's
    assert sign_flip(differences) == pytest.approx(mcnemar(6, 14), abs=0.02)


def test_no_difference_at_all_is_no_evidence() -> None:
    assert sign_flip([0.0, 0.0]) == sign_flip([]) == 1.0


def test_1_96_errors_are_five_percent() -> None:
    assert two_sided(1.959963984540054) == pytest.approx(0.05, rel=1e-9)
    assert two_sided(0.0) == 1.0 and two_sided(-3) == two_sided(3)
    assert math.isclose(two_sided(1.0), 0.3173105078629141)
