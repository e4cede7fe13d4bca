"""Marks on tokens that the model gave a low probability."""

import math

import pytest

from llmkit.engine.request import Drawn, Scored
from llmkit.workflows.generate.marks import MARK, RESET, marked


@pytest.mark.parametrize(("probability", "is_marked"), [(0.09, True), (0.11, False), (0.0, True)])
def test_what_is_below_the_bound_is_in_colour(probability: float, is_marked: bool) -> None:
    logprob = math.log(probability) if probability else -math.inf
    found = marked("a b", Drawn(1, score=Scored(1, logprob)), 0.1)
    assert found == (f"{MARK}a b{RESET}" if is_marked else "a b")


def test_no_colour_runs_over_the_end_of_a_line_or_stands_around_nothing() -> None:
    low = Drawn(1, score=Scored(1, -9.0))
    assert marked("a\n\nb", low, 0.1) == f"{MARK}a{RESET}\n\n{MARK}b{RESET}"
    assert marked("", low, 0.1) == "" and marked("a", None, 0.1) == marked("a", Drawn(1), 0.1) == "a"
