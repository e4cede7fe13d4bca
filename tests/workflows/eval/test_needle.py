"""Needle grids of whole runs."""

import io
import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, StoppedResumable, UsageError
from llmkit.probe.evaluate.intervals import mean_error
from llmkit.probe.evaluate.tasks_config import NeedleConfig
from llmkit.workflows.eval import needle
from llmkit.workflows.eval.needle import NeedleReport, eval_needle
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.eval.write import Written
from tests.workflows.eval.stop_at import StopAt

Make = Callable[..., Path]
SMALL: dict[str, Any] = {
    "tasks": ("needle",), "needle": " {key} {value}.", "question": " {key}", "answers": ("{value}",),
    "words": 8, "max_tokens": 2, "lengths": (32, 64), "depths": (0.0, 100.0), "samples": 2,
}  # fmt: skip


def _needle(folder: Path, records: Path | None = None, **config: Any) -> NeedleReport:
    given = NeedleConfig(**{**SMALL, **config})
    return eval_needle(ModelOptions(model=folder), given, per_record=records)


def test_the_grid_is_the_mean_of_the_records(spelled_model: Make, tmp_path: Path) -> None:
    folder, records = spelled_model(), tmp_path / "r.jsonl"
    report = _needle(folder, records, answers=("{value}", "a", "e"))
    found = [json.loads(line) for line in records.read_text().splitlines()]
    assert len(found) == report.samples == 8
    for one in found:  # RULER: string_match_all
        text = one["completion"].lower()
        assert one["score"] == pytest.approx(sum(a.lower() in text for a in one["answers"]) / 3)
        assert one["length"] - 6 <= one["prompt_tokens"] + 2 <= one["length"]
    for cell in report.tasks[0].cells:
        scores = [one["score"] for one in found if (one["length"], one["depth"]) == (cell.length, cell.depth)]
        assert cell.score == pytest.approx(100 * sum(scores) / 2)
    assert report.score == pytest.approx(100 * sum(one["score"] for one in found) / 8)


def test_an_interrupted_run_goes_on_to_the_same_records(spelled_model: Make, tmp_path: Path) -> None:
    folder, records = spelled_model(), tmp_path / "r.jsonl"
    whole = _needle(folder, records)
    lines = records.read_bytes()
    records.unlink()

    with pytest.raises(Exception, match="stopped"):
        eval_needle(ModelOptions(model=folder), NeedleConfig(**SMALL), per_record=records, progress=StopAt(5))
    again = _needle(folder, records)
    assert records.read_bytes() == lines and again.tasks == whole.tasks


def test_a_stretched_model_takes_longer_lengths(spelled_model: Make) -> None:
    folder = spelled_model()
    with pytest.raises(UsageError, match="context of 64") as told:
        _needle(folder, lengths=(200,))
    assert "yarn:4" in told.value.hint
    stretched = ModelOptions(model=folder, rope_scaling="yarn:4")
    report = eval_needle(stretched, NeedleConfig(**{**SMALL, "lengths": (200,), "samples": 1}))
    assert (report.context, report.rope_scaling) == (256, "yarn:4")


def test_tasks_count_alike_however_many_prompts_they_have(
    spelled_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(scorer: Scorer, prompts: Iterable[Any]) -> Iterator[Written]:
        for number, _ in enumerate(prompts):
            yield Written("e t"[: 1 + 2 * (number % 2)], 1, "length")

    monkeypatch.setattr("llmkit.workflows.eval.needle.write_texts", written)
    folder, records = spelled_model(max_position_embeddings=1024), tmp_path / "r.jsonl"
    many = {"tasks": ("needle", "fwe"), "lengths": (1024,), "max_tokens": 8, "answers": ("e", "t", "a")}
    report = _needle(folder, records, **many)
    found = [json.loads(line) for line in records.read_text().splitlines()]
    scores = {name: [one["score"] for one in found if one["task"] == name] for name in ("needle", "fwe")}
    assert [len(ones) for ones in scores.values()] == [4, 2]
    means = [statistics.mean(ones) for ones in scores.values()]
    assert means[0] != means[1]
    assert report.score == pytest.approx(50 * sum(means)) == pytest.approx(report.lengths[0].score)
    errors = [mean_error(ones) ** 2 for ones in scores.values()]
    assert min(errors) > 0
    assert errors[0] == pytest.approx(statistics.stdev(scores["needle"]) ** 2 / 4)
    assert report.headline.error == pytest.approx(50 * sum(errors) ** 0.5)


def test_records_of_another_haystack_are_not_gone_on_with(
    spelled_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, records, written = spelled_model(), tmp_path / "r.jsonl", needle.write_texts

    def stopping(scorer: Scorer, prompts: Iterable[Any]) -> Iterator[Written]:
        for number, one in enumerate(written(scorer, prompts)):
            if number == 2:
                raise KeyboardInterrupt
            yield one

    def read(text: str) -> NeedleReport:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode()))))
        given = NeedleConfig(**SMALL)
        return eval_needle(ModelOptions(model=folder), given, haystack=Path("-"), per_record=records)

    with monkeypatch.context() as patch:
        patch.setattr(needle, "write_texts", stopping)
        with pytest.raises(StoppedResumable):
            read("The grass is green. The sky is blue. " * 20)
    with pytest.raises(DataError, match="other texts"):
        read("The sea is deep. The hill is high now. " * 20)
    assert read("The grass is green. The sky is blue. " * 20).samples == 8
