"""The folder of a run: whether it may be written, where it goes on from, how an old run makes way.

RUN/config.json, model.safetensors, tokenizer.json, …   the newest checkpoint as a model folder
RUN/llmkit.json         what made it
RUN/metrics.jsonl       one record a step
RUN/checkpoints/        the last few, each enough to go on from
RUN/cache/              documents packed for this run
RUN/.replaced/          the run that stood here, until the first checkpoint of the new one
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.atomic import refuse_existing, refuse_stdout, refuse_unwritable, write_atomic
from llmkit.formats.checkpoint import (
    CHECKPOINTS,
    CheckpointState,
    clear_leftovers,
    damage,
    list_checkpoints,
    publish,
    read_state,
    retract,
    step_of,
)
from llmkit.formats.json_text import json_text
from llmkit.formats.lock import LOCK
from llmkit.formats.metrics import METRICS, begin_alike, cut_metrics, holds_metrics
from llmkit.formats.model_folder import CONFIG
from llmkit.formats.provenance import FILE_NAME, Invocation, write_provenance
from llmkit.formats.sentence_modules import copy_steps
from llmkit.formats.streams import STDIO
from llmkit.progress import Progress
from llmkit.tokens.tokenizer import CHAT_TEMPLATE, NAMED_TEMPLATES, TOKENIZER, TOKENIZER_CONFIG
from llmkit.train.config import Recipe, Resume
from llmkit.workflows.pretrain.companions import keep_steps
from llmkit.workflows.pretrain.job import Job
from llmkit.workflows.run.same_run import check_same_run

CACHE = "cache"
REPLACED = ".replaced"
PACKAGES = ("torch", "numpy", "tokenizers", "safetensors")
CARRIED = (TOKENIZER, TOKENIZER_CONFIG, CHAT_TEMPLATE, FILE_NAME)
"""Files of the run folder that each checkpoint has too, so that it is whole by itself."""


@dataclass(frozen=True)
class Start:
    """Where a run begins: a checkpoint and its state, or None for the beginning."""

    checkpoint: Path | None = None
    state: CheckpointState | None = None
    damaged: tuple[tuple[Path, str], ...] = ()
    """Newer checkpoints that are not whole, or damaged inside, and what is wrong with each."""

    @property
    def step(self) -> int:
        """Updates done already."""
        return 0 if self.state is None else int(self.state.trainer["step"])


def check_folder(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse a folder that is not a run's, before anything is written.

    Raises:
        UsageError: it is an input, a file, stdout, or holds something else, or may not be written.
    """
    refuse_stdout(out)
    if any(path.exists() and path.resolve() == out.resolve() for path in inputs):
        raise UsageError(f"{out}: the output is also an input", hint="choose another name with -o")
    names = {out.name} if out.exists() else set()
    if out.is_dir():
        names = {entry.name for entry in out.iterdir()}
    if names - {CACHE, REPLACED, LOCK} and not names & {METRICS, CHECKPOINTS}:
        raise UsageError(
            f"{out}: exists and is not a run (found {', '.join(sorted(names)[:4])})",
            hint="choose another name with -o",
        )
    refuse_unwritable(out / METRICS)


def check_resume(out: Path, *, resume: Resume, force: bool) -> None:
    """Refuse, before any data is read, to replace a run unasked or to resume one that has no checkpoint.

    Raises:
        UsageError: the run was to be started over without --force.
        MissingError: a checkpoint is required and there is none.
        DataError: there are checkpoints, and none of them is whole: what was learnt is not lost in silence.
    """
    complete, problems = list_checkpoints(out)
    if resume == "never" and complete and not force:
        raise UsageError(
            f"{out}: has a run already (checkpoint {complete[-1].name})",
            hint="choose another name with -o, go on with --resume auto, or replace it with --force",
        )
    if resume == "never" or complete:
        return
    if problems:
        raise _all_damaged(out, *problems[0])
    if resume == "must":
        raise MissingError(f"{out}: no checkpoint to resume from", hint="--resume auto starts a new run")


def find_start(out: Path, recipe: Recipe, *, resume: Resume, force: bool, progress: Progress) -> Start:
    """Where the run in `out` goes on from.

    Raises:
        UsageError, MissingError: see `check_resume`; also, the run there has other settings.
        DataError: there are checkpoints, and every one of them is damaged.
    """
    complete, problems = list_checkpoints(out)
    for folder, what in problems:
        progress.note(f"passed over {folder}: {what}")
    check_resume(out, resume=resume, force=force)
    if resume == "never" or not complete:
        return Start()
    damaged = problems
    while complete and (inside := damage(complete[-1])) is not None:
        damaged.append((complete.pop(), inside))
        progress.note(f"passed over {damaged[-1][0]}: {inside}")
    if not complete:
        raise _all_damaged(out, *damaged[-1])
    newest = complete[-1]
    state = read_state(newest)
    check_same_run(out, recipe, state)
    newer = [(folder, what) for folder, what in damaged if step_of(folder) > step_of(newest)]
    return Start(newest, state, tuple(newer))


def _all_damaged(out: Path, checkpoint: Path, what: str) -> DataError:
    return DataError(
        f"{out}: every checkpoint is damaged ({checkpoint.name}: {what})",
        hint="start over with --resume never --force, or choose another name with -o",
    )


def set_aside(out: Path) -> None:
    """Put the run that stands in a folder aside, its cache excepted."""
    if not out.is_dir():
        return
    restore_aside(out)
    aside = out / REPLACED
    for entry in sorted(out.iterdir()):
        if entry.name not in (CACHE, REPLACED, LOCK):
            aside.mkdir(exist_ok=True)
            entry.rename(aside / entry.name)


def restore_aside(out: Path) -> None:
    """Bring a run back that was set aside, where the new one came to no checkpoint; else remove it."""
    aside = out / REPLACED
    if not aside.is_dir():
        return
    if not list_checkpoints(out)[0]:
        for entry in sorted(aside.iterdir()):
            new = out / entry.name
            if new.is_dir():
                shutil.rmtree(new)
            entry.replace(new)
    shutil.rmtree(aside)


def prepare_folder(job: Job, start: Start, invocation: Invocation) -> list[dict[str, Any]]:
    """Make the run folder ready for training; returns the metrics records from before the start."""
    out, metrics = job.files.out, job.files.metrics
    clear_leftovers(out)
    for folder, _ in start.damaged:
        retract(folder)
    if start.checkpoint is not None and start.state is not None:
        publish(start.checkpoint, out, job.product.files)
        if start.state.recipe.get("steps") != job.setup.recipe.steps:
            (out / FILE_NAME).unlink(missing_ok=True)  # older checkpoints have the same file
            _write_origin(job, invocation)
        paths = [path for path in metrics_paths(out, metrics) if path != STDIO]
        records = [cut_metrics(path, start.step) for path in paths]
        return records[0]
    set_aside(out)
    (out / METRICS).touch()  # first: it marks the folder as a run's
    if metrics is not None and metrics.is_file():
        metrics.unlink()
    if job.tokenizer is not None:
        job.tokenizer.save(out)
    if CONFIG in job.product.files:
        write_atomic(out / CONFIG, json_text(job.source.config.to_hf()))
        keep_steps(job.source.weights, out, job.source.config.hidden_size)
    _write_origin(job, invocation)
    return []


def _write_origin(job: Job, invocation: Invocation) -> None:
    write_provenance(
        job.files.out,
        invocation,
        inputs=_inputs(job),
        tokenizer_sha256=job.data.tokenizer_sha256,
        packages=PACKAGES,
    )


def _inputs(job: Job) -> dict[str, str]:
    """All that was read, by name; validation data that is called as training data is says what it is."""
    found = dict(job.data.inputs)
    for name, digest in (job.valid.inputs if job.valid else {}).items():
        found[f"{name} (validation)" if name in job.data.inputs else name] = digest
    return found


def metrics_paths(out: Path, other: Path | None) -> list[Path]:
    """The run's own metrics file, and another one where it was asked for."""
    own = out / METRICS
    if other is None or (other != STDIO and other.resolve() == own.resolve()):
        return [own]
    return [own, other]


def check_records(
    out: Path, metrics: Path | None, events: Path | None, inputs: Iterable[Path], *, force: bool
) -> None:
    """Refuse to write metrics where they cannot be, before any work.

    Args:
        out: of the run.
        metrics: a file beside the run's own.
        events: a folder for TensorBoard.
        inputs: what the run reads.
        force: a file that is there is replaced, but no input.

    Raises:
        MissingError: there is no folder for the file.
        UsageError: it is a folder, an input or there and no metrics, or one of the two may not be written.
    """
    if events is not None:
        refuse_unwritable(events / "events")
    if metrics is None or len(metrics_paths(out, metrics)) == 1 or metrics == STDIO:
        return
    if metrics.is_dir():
        raise UsageError(f"{metrics}: a folder", hint=f"--metrics {metrics / METRICS}")
    refuse_existing(metrics, force=True, inputs=inputs)
    if not metrics.parent.is_dir():
        raise MissingError(f"{metrics}: no such folder: {metrics.parent}", hint=f"mkdir -p {metrics.parent}")
    if metrics.is_file() and not force and not holds_metrics(metrics):
        raise _is_another(metrics)


def check_metrics_file(out: Path, other: Path | None, *, resumes: bool, force: bool) -> None:
    """Refuse to write metrics over an existing file that is not this run's.

    Args:
        out: of the run.
        other: the file, beside the run's own.
        resumes: the run goes on: metrics that are there are gone on with, as any of this run's would be.
            Where it was ended before its first checkpoint, those that begin as its own do are this run's.
        force: whatever is there is replaced.

    Raises:
        UsageError: it exists and holds something else.
    """
    if other is None or len(metrics_paths(out, other)) == 1 or other == STDIO:
        return
    if not other.is_file() or force:
        return
    if not (holds_metrics(other) and (resumes or begin_alike(other, out / METRICS))):
        raise _is_another(other)


def _is_another(metrics: Path) -> UsageError:
    return UsageError(
        f"{metrics}: already exists", hint="choose another file with --metrics, or replace it with --force"
    )


def carry(out: Path, folder: Path) -> None:
    """Give a checkpoint the run's tokenizer and provenance, and what is done with the model."""
    publish(out, folder, [name for name in CARRIED if (out / name).is_file()])
    named = sorted(file.name for file in (out / NAMED_TEMPLATES).glob("*.jinja"))
    if named:
        (folder / NAMED_TEMPLATES).mkdir(exist_ok=True)
        publish(out / NAMED_TEMPLATES, folder / NAMED_TEMPLATES, named)
    copy_steps(out, folder)
