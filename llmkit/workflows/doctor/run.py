"""A run folder: metrics without gaps, losses that are numbers, checkpoints that are whole."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmkit.formats.checkpoint import leftovers, list_checkpoints, read_state
from llmkit.formats.jsonl import Line, decode_all
from llmkit.formats.metrics import METRICS
from llmkit.formats.model_folder import read_header
from llmkit.progress import SILENT, Progress
from llmkit.workflows.doctor.findings import Finding, as_finding, finding
from llmkit.workflows.doctor.weights import check_weights
from llmkit.workflows.show.metrics import read_metrics


def check_run(folder: Path, *, progress: Progress = SILENT) -> list[Finding]:
    """The metrics file and every checkpoint of a run; the run's own weights are a model folder's matter."""
    findings: list[Finding] = []
    path = folder / METRICS
    if path.is_file():
        with as_finding(findings, "run.metrics", path):
            findings += check_metrics(path, read_metrics(path))
    else:
        findings.append(
            finding("warning", "run.metrics", folder, f"no {METRICS}", "train with llmkit pretrain")
        )
    complete, problems = list_checkpoints(folder)
    for checkpoint in complete:
        findings += check_checkpoint(checkpoint, progress=progress)
    for where, what in problems:
        hint = f"rm -r {where}; llmkit pretrain --resume goes on from an older one"
        findings.append(finding("warning", "run.checkpoint", where, what, hint))
    for leftover in leftovers(folder):
        findings.append(
            finding("info", "run.leftover", leftover, "left by a run that was killed", f"rm -r {leftover}")
        )
    return findings


def check_checkpoint(folder: Path, *, progress: Progress = SILENT) -> list[Finding]:
    """A checkpoint's weights, and every safetensors file of the state that resumes the run."""
    findings = check_weights(folder, progress=progress)
    for file in sorted(folder.glob("*.safetensors")):
        if not file.name.startswith("model"):
            with as_finding(findings, "run.checkpoint", file):
                read_header(file)
    with as_finding(findings, "run.checkpoint", folder):
        read_state(folder)
    return findings


def check_metrics(path: Path, lines: Iterable[Line]) -> list[Finding]:
    """Steps that follow each other at one distance, and finite losses.

    A step before the last one is what a resume does, or going back from a spike, and so is right after a
    `start` or `rewind` event only.
    """
    findings: list[Finding] = []
    last: int | None = None
    distance: int | None = None
    started, not_finite, ended = False, 0, ""
    for line in lines:
        record = decode_all(line)
        event, step = record.get("event"), record.get("step")
        if event is not None:
            started, ended = started or event in ("start", "rewind"), str(event)
            continue
        ended = ""
        if not isinstance(step, int):
            what = f"neither a step nor an event (found: {', '.join(record) or 'no keys'})"
            findings.append(
                finding("error", "run.metrics", line.where, what, "the file was edited, or is another's")
            )
            continue
        not_finite += not _is_finite(record.get("loss"))
        if last is not None and not started:
            if step <= last:
                what = f"step {step} comes after step {last}, without a start between them"
                findings.append(
                    finding("error", "run.metrics", line.where, what, "two runs wrote to one file")
                )
            elif distance is not None and step - last > distance:
                what = f"steps {last + distance} to {step - distance} are missing"
                findings.append(
                    finding("warning", "run.metrics", line.where, what, "the file was cut or edited")
                )
            distance = distance or step - last
        last, started = step, False
    if not_finite:
        what = f"the loss of {not_finite} steps is not finite"
        hint = "train again from an earlier checkpoint with a lower --lr"
        findings.append(finding("warning", "run.loss", path, what, hint))
    if last is not None and ended != "stop":
        what = "no stop event at the end: the run goes on, or was killed"
        findings.append(finding("info", "run.stop", path, what, "the same llmkit pretrain line continues it"))
    return findings


def _is_finite(loss: Any) -> bool:
    return isinstance(loss, int | float) and math.isfinite(loss)
