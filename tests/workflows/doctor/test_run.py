"""Runs: metrics without gaps, checkpoints that are whole, and a finding where they are not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.formats.checkpoint import CheckpointState, write_checkpoint, write_state
from llmkit.workflows.doctor.findings import Finding
from llmkit.workflows.doctor.run import check_metrics, check_run
from llmkit.workflows.show.metrics import read_metrics


@pytest.fixture
def run(tiny_model: Callable[..., Path], write_metrics: Callable[..., Path]) -> Path:
    """A healthy run folder with two checkpoints."""
    folder = tiny_model("run")
    write_metrics(folder / "metrics.jsonl")

    def fill(target: Path) -> None:
        for name in ("config.json", "model.safetensors"):
            (target / name).write_bytes((folder / name).read_bytes())
        (target / "optimizer.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        state = CheckpointState(recipe={}, trainer={}, threads=1, versions={})
        write_state(target, state)

    for step in (20, 40):
        write_checkpoint(folder, step, fill)
    return folder


def _checks(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.check) for one in findings]


def _metrics(path: Path, *lines: dict[str, Any]) -> list[tuple[str, str]]:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return _checks(check_metrics(path, read_metrics(path)))


def test_a_healthy_run_has_no_findings(run: Path) -> None:
    assert check_run(run) == []


def test_a_gap_in_the_steps_is_found(write_metrics: Callable[..., Path]) -> None:
    path = write_metrics(steps=30, skip=(11, 12, 13))
    (found,) = check_metrics(path, read_metrics(path))
    assert (found.level, found.check) == ("warning", "run.metrics") and "steps 11 to 13" in found.what


def test_steps_that_go_back_are_found_unless_the_run_started_again(tmp_path: Path) -> None:
    steps = [{"step": step, "loss": 2.0} for step in (1, 2, 3)]
    stop = {"event": "stop", "step": 3}
    assert _metrics(tmp_path / "m", *steps, *steps[1:], stop) == [("error", "run.metrics")]
    assert _metrics(tmp_path / "m", *steps, {"event": "start", "step": 1}, *steps[1:], stop) == []


def test_losses_that_are_not_finite_are_found(tmp_path: Path) -> None:
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}, {"event": "stop", "step": 2}]
    assert _metrics(tmp_path / "m", *lines) == [("warning", "run.loss")]


def test_a_run_without_a_stop_is_a_remark(write_metrics: Callable[..., Path]) -> None:
    path = write_metrics(stop=False)
    assert _checks(check_metrics(path, read_metrics(path))) == [("info", "run.stop")]


def test_a_checkpoint_without_its_marker_is_found(run: Path) -> None:
    (run / "checkpoints" / "step-00000040" / "COMPLETE").unlink()
    assert _checks(check_run(run)) == [("warning", "run.checkpoint")]


def test_a_checkpoint_with_a_shortened_file_is_found(run: Path) -> None:
    optimizer = run / "checkpoints" / "step-00000020" / "optimizer.safetensors"
    optimizer.write_bytes(optimizer.read_bytes()[:-8])
    (found,) = check_run(run)
    assert found.check == "run.checkpoint" and "optimizer.safetensors" in found.what


def test_a_damaged_state_is_found(run: Path) -> None:
    folder = run / "checkpoints" / "step-00000020"
    state, marker = folder / "state.json", folder / "COMPLETE"
    state.write_text("{}")
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"state.json": 2}))
    assert _checks(check_run(run)) == [("error", "run.checkpoint")]


def test_what_a_killed_run_left_behind_is_a_remark(run: Path) -> None:
    (run / "checkpoints" / ".step-00000060.tmp-1").mkdir()
    (run / "checkpoints" / ".mine").mkdir()  # somebody's own
    assert _checks(check_run(run)) == [("info", "run.leftover")]


def test_a_damaged_line_is_found(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text('{"step": 1, "lo\n' + path.read_text())
    assert _checks(check_run(run)) == [("error", "run.metrics")]
