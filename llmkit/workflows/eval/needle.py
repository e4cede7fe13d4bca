"""llmkit eval needle: what a model finds in contexts of growing length, at growing depth."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from llmkit.engine.config import SamplingConfig
from llmkit.formats.digest import digest_bytes
from llmkit.probe.evaluate.grid import LengthScore, TaskGrid, effective_length, task_grid
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.hidden import Hidden
from llmkit.probe.evaluate.intervals import mean_error
from llmkit.probe.evaluate.matching import judge
from llmkit.probe.evaluate.needle_tasks import Place, PromptMaker, answer_tokens
from llmkit.probe.evaluate.tasks_config import NeedleConfig
from llmkit.progress import SILENT, Progress
from llmkit.workflows.eval.gates import Earlier, check_alike
from llmkit.workflows.eval.needle_prompts import (
    list_places,
    needle_work,
    open_needle,
    prompt_ids,
    prompt_maker,
    read_hay,
)
from llmkit.workflows.eval.records import Records, check_records, inputs_told, open_records
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.eval.work import INPUTS, Work
from llmkit.workflows.eval.write import write_texts

SCHEMA = "llmkit.eval.needle/1"


class NeedleReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Scores are percent."""

    schema: str = SCHEMA
    model: str
    rope_scaling: str | None
    """That was asked for; None: the model's own."""
    context: int
    seed: int
    threshold: float
    tasks: list[TaskGrid]
    lengths: list[LengthScore]
    """The mean of all tasks."""
    effective_length: int | None
    """The longest with a mean of the threshold or more."""
    score: float
    """The same of all lengths: each task counts alike, however many prompts it has."""
    samples: int
    work: Work
    headline: Headline
    seconds: float
    notes: tuple[str, ...]


def eval_needle(
    model: ModelOptions,
    config: NeedleConfig,
    *,
    haystack: Path | None = None,
    per_record: Path | None = None,
    force: bool = False,
    before: Earlier | None = None,
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> NeedleReport:
    """Hide things in contexts, and ask for them.

    Args:
        model: which.
        config: what is hidden, and where.
        haystack: a text to hide it in; None: noise.
        per_record: where a line for each prompt goes; see `open_records`.
        force: replace it.
        before: an earlier report, which must be of the same work, as far as that is known at the start.
        progress: hears of prompts answered.
        clock: in seconds.

    Raises:
        UsageError: a length that the model or the task has no room for, or options that make no sense.
        DataError, MissingError, ConfigError, ResourceError, StoppedResumable: see `open_scorer` and
            `open_records`.
    """
    inputs = [] if haystack is None else [haystack]
    check_records(per_record, force=force, inputs=[*inputs, *model.paths])
    scorer, config = open_needle(model, config, haystack)
    text, hay = read_hay(haystack)
    places, maker = list_places(config), prompt_maker(scorer, config, text, hay)
    begun = clock()
    work = needle_work(config, text)
    check_alike(work, before)
    settings = (asdict(config), scorer.fingerprint, inputs_told(inputs), work[INPUTS])  # stdin: by its text
    with open_records(model.kept(per_record), settings, force=force, inputs=inputs) as records:
        found = list(_answered(scorer, places, maker, config, records, progress))
        notes = (*scorer.notes, *records.notes)
    return _report(scorer, config, found, work, clock() - begun, notes)


def _answered(
    scorer: Scorer,
    places: Sequence[Place],
    maker: PromptMaker,
    config: NeedleConfig,
    records: Records,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """A record for each prompt, in order, written where it is new."""
    asked: list[tuple[Hidden, int]] = []

    def requests() -> Iterator[tuple[list[int], SamplingConfig]]:
        for index, place in enumerate(places):
            if index in records.done:
                continue
            hidden = maker.make(place)
            ids = prompt_ids(scorer, hidden, config)
            asked.append((hidden, len(ids)))
            most = answer_tokens(place.task, config.max_tokens)
            yield ids, SamplingConfig(max_tokens=most, temperature=0.0)

    texts = write_texts(scorer, requests())
    for index, place in enumerate(places):
        if (earlier := records.done.get(index)) is not None:
            yield earlier
            continue
        text = next(texts).text
        hidden, tokens = asked.pop(0)
        score = judge("contains-all", text, hidden.answers).score
        told = {
            "index": index,
            **asdict(place),
            "prompt_tokens": tokens,
            "prompt_sha256": digest_bytes(hidden.prompt.encode())[:16],
            "answers": list(hidden.answers),
            "completion": text,
            "score": score,
            "correct": score == 1.0,
        }
        records.write(told)
        progress.update(index + 1, len(places))
        yield told


def _report(
    scorer: Scorer,
    config: NeedleConfig,
    found: Sequence[Mapping[str, Any]],
    work: Work,
    seconds: float,
    notes: tuple[str, ...],
) -> NeedleReport:
    grids = []
    for task in config.tasks:
        scores = [(one["length"], one["depth"], one["score"]) for one in found if one["task"] == task]
        grids.append(task_grid(task, scores, threshold=config.threshold))
    lengths = [
        LengthScore(
            length=length,
            score=sum(one.score for grid in grids for one in grid.lengths if one.length == length)
            / len(grids),
        )
        for length in config.lengths
    ]
    by_task = [[float(one["score"]) for one in found if one["task"] == task] for task in config.tasks]
    mean = 100 * sum(sum(ones) / len(ones) for ones in by_task) / len(by_task)
    error = 100 * math.hypot(*map(mean_error, by_task)) / len(by_task)
    return NeedleReport(
        model=scorer.name,
        rope_scaling=scorer.job.config.rope_scaling,
        context=scorer.context,
        seed=config.seed,
        threshold=config.threshold,
        tasks=grids,
        lengths=lengths,
        effective_length=effective_length({one.length: one.score for one in lengths}, config.threshold),
        score=mean,
        samples=len(found),
        work=work,
        headline=Headline(name="needle_score", value=mean, error=error or None, better="higher"),
        seconds=seconds,
        notes=notes,
    )
