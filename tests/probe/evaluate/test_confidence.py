"""Confidence of answers and spans of doubt, by hand."""

import math

import pytest

from llmkit.probe.evaluate.confidence import answer_confidence, unsure_spans

LOGPROBS = [math.log(p) for p in (0.5, 0.25, 1.0)]


def test_an_answers_confidence_is_the_mean_the_least_or_the_product_of_its_tokens() -> None:
    assert answer_confidence(LOGPROBS, "mean") == pytest.approx(0.5)
    assert answer_confidence(LOGPROBS, "min") == pytest.approx(0.25)
    assert answer_confidence(LOGPROBS, "product") == pytest.approx(0.125)
    with pytest.raises(ValueError, match="without tokens"):
        answer_confidence([], "mean")


def test_runs_of_unlikely_tokens_are_spans_and_an_unscored_one_ends_a_run() -> None:
    chances = [None, 0.01, 0.04, 0.9, 0.02, None, 0.03]
    logprobs = [None if p is None else math.log(p) for p in chances]
    spans = unsure_spans(logprobs, list("abcdefg"), 0.1)
    assert [(one.start, one.end, one.text) for one in spans] == [(1, 3, "bc"), (4, 5, "e"), (6, 7, "g")]
    assert spans[0].confidence == pytest.approx(0.02)


def test_a_temperature_moves_what_is_below_the_threshold() -> None:
    logprobs = [math.log(0.9)]
    assert unsure_spans(logprobs, ["a"], 0.8) == []
    (span,) = unsure_spans(logprobs, ["a"], 0.8, temperature=2.0)  # odds of 9 become 3
    assert span.confidence == pytest.approx(0.75)


def test_of_nothing_there_is_no_span() -> None:
    assert unsure_spans([], [], 0.5) == []
