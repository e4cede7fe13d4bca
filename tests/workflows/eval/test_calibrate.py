"""Labelled answers: confidences gathered from a model, and judged as the core judges them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.probe.evaluate.calibration import calibrate
from llmkit.probe.evaluate.config import TokensConfig
from llmkit.workflows.eval.calibrate import CalibrationReport, eval_calibrate
from llmkit.workflows.eval.scorer import Scorer

PAIRS = [
    ("You must", " give"),
    ("You may", " add"),
    ("of the", " Work"),
    ("any", " other"),
    ("a", " copy of"),
]


def _run(scorer: Scorer, path: Path, *rows: dict[str, Any], **config: Any) -> CalibrationReport:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return eval_calibrate(scorer, path, TokensConfig(**config))


def _chances(scorer: Scorer, prompt: str, answer: str) -> list[float]:
    ids, start = scorer.pair(prompt, answer)
    (found,) = scorer.score([(ids, 1)])
    return [math.exp(one.score.logprob) for one in found[start - 1 :] if one.score is not None]


@pytest.mark.parametrize("kind", ["mean", "min", "product"])
def test_answers_are_judged_by_the_confidence_that_is_asked_for(
    scorer: Scorer, tmp_path: Path, kind: str
) -> None:
    labels = [True, False, True, False, True]
    rows = [
        {"prompt": prompt, "completion": answer, "correct": label}
        for (prompt, answer), label in zip(PAIRS, labels, strict=True)
    ]
    found = _run(scorer, tmp_path / "l.jsonl", *rows, confidence=kind, bins=4)
    fold: dict[str, Callable[[list[float]], float]] = {
        "mean": lambda p: math.prod(p) ** (1 / len(p)), "min": min, "product": math.prod,
    }  # fmt: skip
    confidences = [fold[kind](_chances(scorer, *pair)) for pair in PAIRS]
    expected = calibrate(confidences, labels, bins=4)
    assert found.of == "answers" and found.records == 5
    assert found.calibration.scores.ece == pytest.approx(expected.scores.ece, abs=1e-6)
    assert found.calibration.scores.brier == pytest.approx(expected.scores.brier, abs=1e-6)
    assert [one.count for one in found.calibration.bins] == [one.count for one in expected.bins]
    assert found.headline.value == found.calibration.scores.ece


def test_wrong_characters_label_the_tokens_that_they_touch(scorer: Scorer, tmp_path: Path) -> None:
    text = " copy é of"
    chances = _chances(scorer, "a", text)
    pieces = [scorer.tokenizer.token_bytes(one) for one in scorer.encoder.encode("a" + text)][1:]
    assert b"".join(pieces) == text.encode() and len(pieces) > 3
    wrong, at = [], 0
    for piece in pieces:  # " é" is characters 5 and 6: bytes 5, 6 and 7
        wrong.append(at < 8 and at + len(piece) > 5)
        at += len(piece)
    found = _run(scorer, tmp_path / "l.jsonl", {"prompt": "a", "completion": text, "wrong": [[5, 7]]})
    expected = calibrate(chances, [not one for one in wrong])
    assert found.of == "tokens" and found.calibration.answers == len(pieces)
    assert found.calibration.accuracy == expected.accuracy
    assert found.calibration.scores.brier == pytest.approx(expected.scores.brier, abs=1e-6)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "a", "correct": True}, "no answer"),
        ({"prompt": "a", "completion": " b"}, "no label"),
        ({"prompt": "a", "completion": " b", "label": 2}, "neither right nor wrong"),
        ({"prompt": "a", "completion": "", "label": 1}, "nothing of the answer"),
        ({"prompt": "a", "completion": " b", "wrong": [[0, 1]]}, "in one file"),
        ({"prompt": "a", "completion": " b", "wrong": [[0, 3]]}, r"\[0, 3\] is no part of .* 2 characters"),
        ({"prompt": "a", "completion": " b", "wrong": [[0, 1], [-1, 1]]}, r"\[-1, 1\] is no part"),
        ({"prompt": "a", "completion": " b", "wrong": [[2, 1]]}, r"\[2, 1\] is no part"),
        ({"prompt": "a", "completion": " b", "wrong": [[1, 1]]}, r"\[1, 1\] is no part"),
    ],
)
def test_a_record_that_cannot_be_judged_is_named(
    scorer: Scorer, tmp_path: Path, row: dict[str, Any], says: str
) -> None:
    good = {"prompt": "a", "completion": " b", "label": 1}
    with pytest.raises(DataError, match=rf"l.jsonl:2: .*{says}"):
        _run(scorer, tmp_path / "l.jsonl", good, row)


def test_an_empty_file_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no records"):
        _run(scorer, tmp_path / "l.jsonl")
