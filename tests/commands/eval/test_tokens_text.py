"""Tokens for people: what is coloured, what is bracketed, what a row of the table says."""

import math
from typing import Any

from llmkit.commands.eval.tokens_text import calibration_text, sample_table, sample_text
from llmkit.probe.evaluate.calibration import calibrate
from llmkit.probe.evaluate.confidence import unsure_spans
from llmkit.probe.evaluate.grounding import grounding
from llmkit.probe.evaluate.headline import Headline
from llmkit.workflows.eval.calibrate import CalibrationReport
from llmkit.workflows.eval.tokens import Marking, ScoredSample, Summary
from llmkit.workflows.eval.tokens_input import Sample


def _token(text: str, p: float | None, **more: Any) -> dict[str, Any]:
    if p is None:
        return {"id": 1, "text": text, "logprob": None, "surprisal_bits": None, "top": []}
    best = [{"id": 2, "text": " other", "logprob": math.log(0.5)}]
    return {
        **{"id": 7, "text": text, "logprob": math.log(p), "surprisal_bits": -math.log2(p)},
        **{"entropy_bits": 1.5, "rank": 3, "margin": 0.25, "top": best, **more},
    }


def _sample(*tokens: dict[str, Any], gained: bool = False) -> ScoredSample:
    logprobs = [one["logprob"] for one in tokens]
    known = [one for one in logprobs if one is not None]
    return ScoredSample(
        sample=Sample("x", "", {}),
        prompt=[_token("Q:", None)],
        answer=list(tokens),
        completion=None,
        summary=Summary(tokens=len(tokens), scored_tokens=len(known), logprob=sum(known), perplexity=2.0,
                        confidence=0.5),
        spans=unsure_spans(logprobs, [one["text"] for one in tokens], 0.1),
        grounding=grounding([-1.0], [-1.0 + math.log(2)]) if gained else None,
    )  # fmt: skip


def test_without_colour_unsure_spans_stand_in_brackets() -> None:
    text = sample_text(
        _sample(_token(" a", 0.9), _token(" b", 0.01), _token(" c", 0.05)), Marking(), color=False
    )
    assert text.splitlines()[0] == "Q: a[[ b c]]" and "\x1b" not in text
    assert "1 span below 0.1 (not calibrated)" in text


def test_colour_is_by_surprise_and_ends_with_the_line() -> None:
    text = sample_text(
        _sample(_token(" a", 0.9), _token("\nb", 0.25), _token("\x1b[2J", 0.001)), Marking(), color=True
    )
    assert text.startswith("Q: a\n\x1b[48;5;229m\x1b[30mb\x1b[0m")
    assert "\x1b[48;5;208m\x1b[30m\x1b[4m\\x1b[2J\x1b[0m" in text  # a text cannot steer the terminal


def test_a_row_has_every_figure_and_a_star_where_the_model_was_not_sure() -> None:
    table = sample_table(_sample(_token(" b", 0.0625, gain_bits=1.5), gained=True), Marking())
    head, first, second = table.splitlines()[:3]
    assert head.split() == ["id", "token", "p", "bits", "rank", "entropy", "margin", "gain", "best"]
    assert first.split() == ["1", "'Q:'"]
    assert second.split() == ["*", "7", "'", "b'", "6.25%", "4.00", "3", "1.50", "0.250", "+1.50", "'",
                              "other'", "50.0%"]  # fmt: skip
    assert "+1.000 bits, +1.000 a token; 1 of 1 token likelier" in table


def test_a_calibration_shows_its_table_and_what_to_think_of_it() -> None:
    confidences, right = [0.9] * 10, [True, False] * 5
    found = calibrate(confidences, right, bins=5, keep_accuracy=0.5)
    report = CalibrationReport(
        model="m", of="answers", confidence="mean", records=10, calibration=found,
        work={},
        headline=Headline(name="ece", value=found.scores.ece, error=0, better="lower"),
    )  # fmt: skip
    text = calibration_text(report)
    assert text.startswith("m: calibration, of answers")
    assert "10 answers, 50.00% right" in text and "too sure" in text
    assert "0.9: 10 of 10 kept, at least 50% of them right" in text
    assert text.splitlines()[-1].split() == ["0.80", "to", "1.00", "10", "0.900", "0.500", "##########"]
    assert len(text.splitlines()) == 1 + 8 + 1 + 2  # empty bins are left out
