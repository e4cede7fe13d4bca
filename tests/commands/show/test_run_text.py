"""A run as text: its figures, what it left on disk, and the curve of its loss."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.commands.show.run_text import run_text
from llmkit.workflows.show.metrics import CurvePoint, MetricsSummary, Point, Rewind
from llmkit.workflows.show.run import Checkpoint, RunReport, show_run

SUMMARY = MetricsSummary(
    steps=1200,
    first_loss=8.31776,
    last_loss=2.5,
    lowest_loss=2.43216,
    lowest_loss_step=1190,
    lowest_valid_loss=2.61,
    lowest_valid_loss_step=1100,
    tokens_per_second=5_432.1,
    last={"step": 1200, "tokens": 2_457_600, "time_seconds": 452.4},
    last_eval={"valid_loss": 2.7, "bits_per_byte": 1.23456},
    events={"eval": 2},
    stop={"event": "stop", "reason": "max_time"},
)


def _facts(**changes: Any) -> dict[str, str]:
    report = RunReport(path="run", metrics=msgspec.structs.replace(SUMMARY, **changes))
    lines = run_text(report, width=110, color=False).splitlines()[1:]
    return {name: what.strip() for name, _, what in (line.strip().partition("  ") for line in lines)}


def test_the_figures_of_a_run_are_told_in_facts() -> None:
    report = RunReport(
        path="run",
        metrics=SUMMARY,
        checkpoints=[Checkpoint(name=f"step-{step:08d}", step=step, size_bytes=3 << 20) for step in range(6)],
        incomplete=["run/checkpoints/step-00000006: no COMPLETE"],
        made_by="llmkit pretrain --data shards -o run",
    )
    assert (
        run_text(report, width=80, color=False)
        == """\
run: run
  steps        1,200, 2.46M tokens, 7 m 32 s, 5.43k tokens/s
  train loss   first 8.3178, last 2.5000, lowest 2.4322 at step 1,190
  valid loss   lowest 2.6100 at step 1,100; last 1.2346 bits per byte
  stopped      max_time
  checkpoints  2 older, step-00000002 (3.0 MiB), step-00000003 (3.0 MiB),
               step-00000004 (3.0 MiB), step-00000005 (3.0 MiB)
  incomplete   step-00000006: no COMPLETE
  made by      llmkit pretrain --data shards -o run"""
    )


@pytest.mark.parametrize(
    ("changes", "name", "fact"),
    [
        ({"stop": {}}, "stopped", "not yet, or killed"),
        ({"stop": {"event": "stop"}}, "stopped", "ended"),
        ({"first_loss": None}, "train loss", None),
        ({"lowest_valid_loss": None}, "valid loss", None),
        ({"last_eval": {}}, "valid loss", "lowest 2.6100 at step 1,100"),
        ({"not_finite": 1}, "not finite", "the loss of 1 step"),
        ({"not_finite": 1234}, "not finite", "the loss of 1,234 steps"),
        ({"not_finite": 0}, "not finite", None),
        ({}, "went back", None),
        (
            {"rewinds": [Rewind(4, 7, 2)]},
            "went back",
            "from the spike at step 7 to step 4, 2 steps undone",
        ),
        ({"rewinds": [Rewind(4, 5, 0)]}, "went back", "from the spike at step 5 to step 4"),
        ({"last": {}, "tokens_per_second": None}, "steps", "0"),
    ],
)
def test_each_fact_says_what_is_known_of_it(changes: dict[str, Any], name: str, fact: str | None) -> None:
    assert _facts(**changes).get(name) == fact


def test_without_metrics_there_is_nothing_to_say_and_no_curve() -> None:
    assert run_text(RunReport(path="run"), width=80, color=False) == "run: run"
    assert run_text(RunReport(path="m", kind="metrics"), width=80, color=False) == "m: metrics"


def test_the_curve_stands_below_the_facts_within_the_width_and_has_colour_when_asked() -> None:
    points = [Point(float(step), 8 / (1 + step / 100)) for step in range(0, 1200, 10)]
    report = RunReport(path="run", metrics=msgspec.structs.replace(SUMMARY, train=points, valid=points[::20]))
    plain = run_text(report, width=72, color=False)
    assert max(map(len, plain.splitlines())) <= 72
    facts, _, curve = plain.partition("\n\n")
    assert "stopped" in facts and "┤" not in facts
    assert all(line.startswith("  ") for line in curve.splitlines())
    assert "train loss" in curve and "o valid loss" in curve and "\x1b" not in plain
    coloured = run_text(report, width=72, color=True)
    assert "\x1b[" in coloured and coloured.partition("\n\n")[0] == facts


def test_a_run_that_left_a_model_tells_its_size_and_shape(
    tiny_model: Callable[..., Path], write_metrics: Callable[..., Path]
) -> None:
    folder = tiny_model("run")
    write_metrics(folder / "metrics.jsonl")
    lines = run_text(show_run(folder), width=120, color=False).splitlines()
    assert lines[0] == f"{folder}: run, llama"
    # 48 x 8 embedding, per layer 192 attention, 288 mlp and 16 norm, 8 of the last norm; 4 bytes each
    shape = "2 layers, hidden 8, mlp 12 silu, 2 heads, 1 key/value head of 4"
    assert lines[1].strip() == f"model       1,384 parameters, 5.4 KiB; {shape}"
    assert lines[2].strip() == "context     32 tokens, rope_theta 10,000"


def test_other_curves_stand_side_by_side_or_below_each_other() -> None:
    curves = {name: [CurvePoint(1, 0.0), CurvePoint(9, 1.0)] for name in ("lr", "grad_norm")}
    report = RunReport(path="run", metrics=MetricsSummary(steps=9, curves=curves))
    wide = run_text(report, width=60, color=False).splitlines()
    assert wide[-1].split() == ["⠤⠤", "lr", "⠤⠤", "grad", "norm"] and max(map(len, wide)) <= 60
    assert run_text(report, width=40, color=False).splitlines()[-1].split() == ["⠤⠤", "grad", "norm"]
    coloured = run_text(report, width=60, color=True).splitlines()
    assert [re.sub("\x1b\\[[0-9]*m", "", line).rstrip() for line in coloured] == wide


def test_the_norms_of_layers_stand_below_the_curves() -> None:
    layer = {"name": "layers.0", "gradient": 0.125, "weight": 8.5, "update_ratio": None}
    report = RunReport(path="run", metrics=MetricsSummary(steps=9, norms_step=8, norms=[layer]))
    *_, title, heads, row = run_text(report, width=80, color=False).splitlines()
    assert title == "  layers in step 8"
    assert heads.split() == ["layer", "gradient", "weight", "update/weight", "output", "rms", "output", "max"]
    assert row.split() == ["layers.0", "0.125", "8.5", "-", "-", "-"]
