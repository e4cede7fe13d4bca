"""A training run: its settings, how its loss went, its checkpoints and the model it made."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from llmkit.formats.checkpoint import list_checkpoints, step_of
from llmkit.formats.jsonl import Line
from llmkit.formats.metrics import METRICS
from llmkit.formats.model_folder import CONFIG, INDEX, WEIGHTS
from llmkit.formats.provenance import read_provenance
from llmkit.workflows.show.metrics import MetricsSummary, read_metrics, summarise_metrics
from llmkit.workflows.show.model import ModelReport, show_model


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A complete checkpoint of a run."""

    name: str
    step: int
    size_bytes: int


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run folder; with `kind` "metrics", its metrics file alone."""

    schema: str = "llmkit.show/1"
    kind: str = "run"
    path: str
    settings: dict[str, Any] = {}
    made_by: str | None = None
    metrics: MetricsSummary | None = None
    checkpoints: list[Checkpoint] = []
    """Complete ones, oldest first."""
    incomplete: list[str] = []
    """What is wrong with the others."""
    model: ModelReport | None = None


def show_run(folder: Path) -> RunReport:
    """A run folder, whether the run has ended or not.

    Raises:
        DataError: the metrics file or the model is damaged.
    """
    provenance = read_provenance(folder) or {}
    metrics = folder / METRICS
    has_model = (folder / CONFIG).is_file() and ((folder / WEIGHTS).is_file() or (folder / INDEX).is_file())
    complete, incomplete = list_checkpoints(folder)
    return RunReport(
        path=str(folder),
        settings=provenance.get("settings") or {},
        made_by=provenance.get("command_line"),
        metrics=summarise_metrics(read_metrics(metrics)) if metrics.is_file() else None,
        checkpoints=[_checkpoint(one) for one in complete],
        incomplete=[f"{one}: {what}" for one, what in incomplete],
        model=show_model(folder) if has_model else None,
    )


def show_metrics(path: Path, lines: Iterable[Line]) -> RunReport:
    """A metrics file by itself."""
    return RunReport(kind="metrics", path=str(path), metrics=summarise_metrics(lines))


def _checkpoint(folder: Path) -> Checkpoint:
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return Checkpoint(name=folder.name, step=step_of(folder), size_bytes=size)
