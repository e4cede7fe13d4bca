"""Figures of questions that were asked, against shares and errors worked out by hand."""

import math
from typing import Any

import pytest

from llmkit.probe.evaluate.tasks_config import McConfig
from llmkit.workflows.eval.mc_report import McReport, mc_report


def record(group: str | None, *right: bool, logprob: float = -1.0, truncated: bool = False) -> dict[str, Any]:
    metrics = dict(zip(("acc", "acc_norm", "acc_bytes"), right, strict=True))
    return {"group": group, **metrics, "logprobs": [logprob], "truncated": truncated}


def report(form: Any, *found: dict[str, Any], **config: Any) -> McReport:
    return mc_report("m", form, McConfig(**config), found, {"form": form}, 2.0, ("a note",))


def test_shares_are_of_all_questions_and_of_each_group() -> None:
    made = report(
        "mmlu",
        record("b", True, False, True),
        record("a", False, False, True),
        record("b", True, True, True),
        record(None, False, True, True),
        metric="acc_norm",
    )
    assert (made.records, made.acc, made.acc_norm, made.acc_bytes) == (4, 0.5, 0.5, 1.0)
    # a sample of 1, 0, 1, 0 deviates by the root of 4 * 0.25 / 3, and its mean by the root of n less
    assert made.acc_error == pytest.approx(math.sqrt(1 / 3) / 2)
    assert [(one.group, one.records, one.acc, one.acc_norm) for one in made.groups] == [
        ("a", 1, 0.0, 0.0),
        ("b", 2, 1.0, 0.5),
    ]
    assert (made.headline.name, made.headline.value) == ("acc_norm", 0.5)
    assert made.interval.method == "Wilson, acc_norm of 4 questions"
    assert made.interval.low == pytest.approx(1 - made.interval.high)  # half of them: the same on both sides


def test_last_words_alone_have_a_perplexity() -> None:
    found = [record(None, *[True] * 3, logprob=-math.log(4)), record(None, *[False] * 3, logprob=0.0)]
    assert report("lambada", *found).perplexity == pytest.approx(2)  # the root of 4 times 1
    assert report("mmlu", *found).perplexity is None


def test_questions_that_were_cut_off_are_counted_and_noted() -> None:
    made = report("mmlu", record(None, *[True] * 3, truncated=True), record(None, *[True] * 3))
    assert made.truncated == 1 and made.notes[0] == "a note" and "1 of 2 questions" in made.notes[1]
