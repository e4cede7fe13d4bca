"""Several training runs beside each other: the settings that differ, where each ended, and its curves."""

import re
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.checkpoint import CHECKPOINTS, read_state
from llmkit.formats.flattened import flattened
from llmkit.workflows.artefact import recognise
from llmkit.workflows.show.metrics import CurvePoint, MetricsSummary, Point, read_metrics
from llmkit.workflows.show.run import RunReport, show_metrics, show_run

_APART = frozenset({"out", "initial_sha256"})
"""Settings that differ by nature, or that another one tells better."""


_SHA256 = re.compile("[0-9a-f]{64}")


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run among others."""

    path: str
    settings: dict[str, Any]
    """Those that differ between the runs; of a setting that is an object each key: `rope_scaling.factor`."""
    parameters: int | None
    steps: int
    tokens: int | None
    seconds: float | None
    tokens_per_second: float | None
    memory_bytes: int | None
    last_loss: float | None
    lowest_loss: float | None
    last_valid_loss: float | None
    lowest_valid_loss: float | None
    lowest_valid_loss_step: int | None
    bits_per_byte: float | None
    """Of the last validation."""
    stopped: str | None
    """Why; None: it goes on, or was killed."""
    train: list[Point]
    valid: list[Point]
    curves: dict[str, list[CurvePoint]]
    norms_step: int | None
    norms: list[dict[str, Any]]
    """As in MetricsSummary."""


class RunsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Runs compared."""

    schema: str = "llmkit.show-runs/1"
    judged_by: str
    """`valid_loss` where every run has one, else `loss`: the lowest that it came to."""
    best: str | None
    """The run with the lowest; None where none has a loss."""
    differing: list[str]
    """Names of settings, in the order of the first run that has them."""
    runs: list[RunRow]


def are_runs(paths: list[Path]) -> bool:
    """Whether each of some paths is a run folder or a metrics file."""
    return all(recognise(path).kind in ("run", "metrics") for path in paths)


def read_runs(paths: list[Path]) -> list[RunReport]:
    """The reports of runs alone.

    Raises:
        UsageError: one of the paths is something else, or a run without metrics.
        MissingError, DataError: as `show_run`.
    """
    reports = []
    for path in paths:
        kind = recognise(path).kind
        if kind not in ("run", "metrics"):
            raise UsageError(
                f"{path}: not a training run (found: {kind})", hint="give folders of pretrain -o"
            )
        report = show_run(path) if kind == "run" else show_metrics(path, read_metrics(path))
        if report.metrics is None:
            raise UsageError(f"{path}: a run without metrics", hint="give runs that have a metrics.jsonl")
        reports.append(report)
    return reports


def compare_runs(reports: list[RunReport]) -> RunsReport:
    """Runs beside each other, in the order given."""
    settings = [_each(one) for one in _settings(reports)]
    names = list(dict.fromkeys(name for one in settings for name in one))
    differing = [name for name in names if name not in _APART and _differs(name, settings)]
    summaries = [one.metrics or MetricsSummary(steps=0) for one in reports]
    by_valid = all(one.lowest_valid_loss is not None for one in summaries)
    lowest = [one.lowest_valid_loss if by_valid else one.lowest_loss for one in summaries]
    known = [(loss, one.path) for loss, one in zip(lowest, reports, strict=True) if loss is not None]
    return RunsReport(
        judged_by="valid_loss" if by_valid else "loss",
        best=min(known)[1] if known else None,
        differing=differing,
        runs=[
            _row(report, summary, {name: own.get(name) for name in differing})
            for report, summary, own in zip(reports, summaries, settings, strict=True)
        ],
    )


def _row(report: RunReport, summary: MetricsSummary, settings: dict[str, Any]) -> RunRow:
    last, valid = summary.last, summary.last_eval
    weights = report.model.weights if report.model is not None else None
    return RunRow(
        path=report.path,
        settings=settings,
        parameters=weights.parameters if weights is not None else None,
        steps=last.get("step", 0),
        tokens=last.get("tokens"),
        seconds=last.get("time_seconds"),
        tokens_per_second=summary.tokens_per_second,
        memory_bytes=last.get("memory_bytes"),
        last_loss=summary.last_loss,
        lowest_loss=summary.lowest_loss,
        last_valid_loss=summary.valid[-1].loss if summary.valid else None,
        lowest_valid_loss=summary.lowest_valid_loss,
        lowest_valid_loss_step=summary.lowest_valid_loss_step,
        bits_per_byte=valid.get("bits_per_byte"),
        stopped=summary.stop.get("reason"),
        train=summary.train,
        valid=summary.valid,
        curves=summary.curves,
        norms_step=summary.norms_step,
        norms=summary.norms,
    )


def setting_words(value: object) -> str:
    """A setting for people; of a list, what repeats once: `3 × sliding_attention, full_attention`."""
    if isinstance(value, str) and _SHA256.fullmatch(value):
        return value[:12]  # as digests are told everywhere
    if not isinstance(value, list | tuple):
        return str(value)
    runs = [(str(one), len(list(same))) for one, same in groupby(value)]
    return ", ".join(word if count == 1 else f"{count} × {word}" for word, count in runs)


def _settings(reports: list[RunReport]) -> list[dict[str, Any]]:
    """What decided each run: the recipes where all have one, else what was asked for."""
    recipes = [_recipe(one) for one in reports]
    return [one or {} for one in recipes] if all(recipes) else [one.settings for one in reports]


def _recipe(report: RunReport) -> dict[str, Any] | None:
    if not report.checkpoints:
        return None
    recipe = dict(read_state(Path(report.path) / CHECKPOINTS / report.checkpoints[-1].name).recipe)
    model = recipe.pop("model", {})
    return {**recipe, **{name: value for name, value in model.items() if name not in recipe}}


def _each(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings one by one, as of two adapters only the rank may differ; an empty object says nothing."""
    return {name: value for name, value in flattened(settings).items() if value != {}}


def _differs(name: str, settings: list[dict[str, Any]]) -> bool:
    return any(one.get(name) != settings[0].get(name) for one in settings)
