"""A metrics file read back: last figures, curves, what a resume and a kill leave behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.workflows.show.metrics import CURVE_POINTS, MetricsSummary, read_metrics, summarise_metrics


def _summary(path: Path, lines: list[dict[str, Any]]) -> MetricsSummary:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return summarise_metrics(read_metrics(path))


def test_a_run_is_summed_up(write_metrics: Callable[..., Path]) -> None:
    summary = summarise_metrics(read_metrics(write_metrics(steps=40)))
    assert (summary.steps, summary.first_loss, summary.last_loss) == (40, 5.0, 2 + 3 / 40)
    assert (summary.lowest_loss_step, summary.lowest_valid_loss_step) == (40, 40)
    assert summary.lowest_valid_loss == pytest.approx(2 + 3 / 40 + 0.1)
    assert summary.tokens_per_second == pytest.approx(640 + (37 + 38 + 39 + 40) / 4)
    assert summary.events == {"start": 1, "eval": 4, "stop": 1}
    assert summary.stop["reason"] == "done" and summary.last["tokens"] == 2560
    assert [(point.step, point.loss) for point in summary.train[:2]] == [(1, 5.0), (2, 3.5)]
    assert [point.step for point in summary.valid] == [10, 20, 30, 40]


def test_steps_done_again_after_a_resume_count_once(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": 9.0 - step} for step in (1, 2, 3, 4)]
    again = [{"event": "start", "step": 2}, {"step": 3, "loss": 1.0}, {"step": 4, "loss": 0.5}]
    summary = _summary(tmp_path / "m.jsonl", [*lines, *again])
    assert [point.loss for point in summary.train] == [8.0, 7.0, 1.0, 0.5]


def test_a_long_curve_is_thinned_to_means(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": float(step % 2)} for step in range(10 * CURVE_POINTS)]
    summary = _summary(tmp_path / "m.jsonl", lines)
    assert len(summary.train) == CURVE_POINTS
    assert {point.loss for point in summary.train} == {0.5}
    assert summary.train[0].step == 4.5


def test_a_loss_that_is_null_is_counted_and_not_drawn(tmp_path: Path) -> None:
    summary = _summary(tmp_path / "m.jsonl", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}])
    assert (summary.not_finite, len(summary.train), summary.last_loss) == (1, 1, 2.0)


def test_a_last_line_cut_short_is_passed_over_and_one_in_the_middle_is_not(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert summarise_metrics(read_metrics(path)).steps == 1
    path.write_text('{"step": 1, "lo\n{"step": 2, "loss": 2.0}\n')
    with pytest.raises(DataError, match=r"m\.jsonl:1: "):
        summarise_metrics(read_metrics(path))


def test_a_line_of_something_else_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"m\.jsonl:2: neither a step nor an event \(found: text\)"):
        _summary(tmp_path / "m.jsonl", [{"step": 1, "loss": 2.0}, {"text": "a"}])


def test_a_run_that_goes_on_has_no_stop(tmp_path: Path) -> None:
    lines = [{"step": 1, "loss": 2.0}, {"event": "stop", "step": 1}, {"step": 2, "loss": 1.0}]
    assert _summary(tmp_path / "m.jsonl", lines).stop == {}
    assert _summary(tmp_path / "m.jsonl", lines[:2]).stop == {"event": "stop", "step": 1}


def test_other_curves_are_kept_and_go_back_with_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "loss": 1.0, "lr": step / 10, "grad_norm": 2.0} for step in (1, 2, 3)]
    lines += [{"step": 3, "loss": 1.0, "lr": 0.5}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curves = summarise_metrics(read_metrics(path)).curves
    assert {name: [(one.step, one.value) for one in points] for name, points in curves.items()} == {
        "lr": [(1, 0.1), (2, 0.2), (3, 0.5)],
        "grad_norm": [(1, 2.0), (2, 2.0)],
    }


UNDONE = [
    *({"step": step, "loss": 9.0 - step, "lr": 0.1} for step in (1, 2, 3, 4)),
    {"event": "eval", "step": 2, "valid_loss": 7.5, "bits_per_byte": 2.0},
    {"event": "eval", "step": 4, "valid_loss": 1.5, "bits_per_byte": 1.0},
]
REWIND = {"event": "rewind", "step": 2, "spike_step": 5, "undone": [{"step": 3}, {"step": 4}]}


def test_what_a_rewind_took_back_is_in_no_curve_of_a_stream_that_still_has_it(tmp_path: Path) -> None:
    at_once = _summary(tmp_path / "m.jsonl", [*UNDONE, REWIND])
    assert [(point.step, point.loss) for point in at_once.train] == [(1, 8.0), (2, 7.0)]
    assert [point.step for point in at_once.valid] == [2] and at_once.last_eval["bits_per_byte"] == 2.0
    assert [one.step for one in at_once.curves["lr"]] == [1, 2] and at_once.lowest_valid_loss == 7.5
    assert (at_once.steps, at_once.last) == (2, {})  # which was the last that stayed is told by the next
    again = [{"step": 3, "loss": 6.5}, {"event": "stop", "step": 3, "reason": "done"}]
    later = _summary(tmp_path / "m.jsonl", [*UNDONE, REWIND, *again])
    assert [point.loss for point in later.train] == [8.0, 7.0, 6.5] and later.last["step"] == 3
    assert [(one.step, one.spike_step, one.undone_steps) for one in later.rewinds] == [(2, 5, 2)]


def test_the_layers_of_the_last_watched_update_are_kept_unless_it_was_undone(tmp_path: Path) -> None:
    def watched(step: int) -> list[dict[str, Any]]:
        layers = [{"name": "layers.0", "gradient": step / 10}]
        return [{"step": step, "loss": 1.0}, {"event": "norms", "step": step, "layers": layers}]

    summary = _summary(tmp_path / "m.jsonl", [*watched(5), *watched(10)])
    assert (summary.norms_step, summary.norms) == (10, [{"name": "layers.0", "gradient": 1.0}])
    back = {"event": "rewind", "step": 6, "spike_step": 10}
    summary = _summary(tmp_path / "m.jsonl", [*watched(5), *watched(10), back])
    assert (summary.norms_step, summary.norms) == (5, [{"name": "layers.0", "gradient": 0.5}])
