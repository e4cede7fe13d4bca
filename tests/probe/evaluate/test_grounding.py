"""What a passage did for an answer, by hand."""

import math

import pytest

from llmkit.probe.evaluate.grounding import grounding


def test_the_gain_is_the_ratio_of_probabilities_in_bits() -> None:
    found = grounding([math.log(0.1), math.log(0.5), None], [math.log(0.8), math.log(0.25), math.log(0.3)])
    assert found.tokens == 2 and found.raised == 1
    assert found.gain_bits == pytest.approx(3 - 1)  # eight times likelier, then half as likely
    assert found.gain_bits_per_token == pytest.approx(1)
    assert math.exp(found.logprob_without) == pytest.approx(0.05)
    assert math.exp(found.logprob_with) == pytest.approx(0.2)


def test_an_answer_that_was_known_anyway_gains_nothing() -> None:
    assert grounding([-1.0, -2.0], [-1.0, -2.0]).gain_bits == 0


def test_what_is_scored_in_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="both"):
        grounding([None], [-1.0])
