"""Runs beside each other as text."""

from collections.abc import Callable
from pathlib import Path

from llmkit.commands.show.runs_text import run_names, runs_text
from llmkit.workflows.show.runs import RunsReport, compare_runs, read_runs


def report_of(tmp_path: Path, write_metrics: Callable[..., Path]) -> RunsReport:
    return compare_runs(
        read_runs([write_metrics(tmp_path / f"{name}.jsonl", steps=n) for name, n in (("a", 20), ("b", 40))])
    )


def test_a_table_has_a_row_a_run_and_names_the_best(
    tmp_path: Path, write_metrics: Callable[..., Path]
) -> None:
    lines = runs_text(report_of(tmp_path, write_metrics), width=80, color=False).splitlines()
    assert lines[0].split() == ["steps", "tokens", "time", "tok/s", "memory", "loss", "valid", "lowest"]
    assert lines[2].split() == [
        *("b.jsonl", "40", "2.56k", "4.0", "s", "678", "-"),
        *("2.0750", "2.1750", "2.1750"),
    ]
    assert "lowest validation loss: b.jsonl" in lines
    assert "no setting that is known differs" in lines
    assert max(map(len, lines)) <= 80


def test_curves_are_told_apart_without_colour_and_with_it(
    tmp_path: Path, write_metrics: Callable[..., Path]
) -> None:
    report = report_of(tmp_path, write_metrics)
    plain, coloured = (runs_text(report, width=70, color=color) for color in (False, True))
    assert plain.splitlines()[-1].split() == ["⠤⠤", "a.jsonl", "o", "b.jsonl"] and "\x1b" not in plain
    assert "\x1b[36m⠤⠤\x1b[0m a.jsonl   \x1b[33m⠤⠤\x1b[0m b.jsonl" in coloured


def test_names_leave_out_the_folders_that_all_have() -> None:
    assert run_names(["runs/a", "runs/b/"]) == ["a", "b"]
    assert run_names(["runs/a", "old/a"]) == ["runs/a", "old/a"]
    assert run_names(["/x/run/one"]) == ["one"]
    assert run_names(["a", "a/b"]) == ["a", "a/b"]
