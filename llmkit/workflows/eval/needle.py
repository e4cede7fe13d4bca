"""llmkit eval needle: what a model finds in contexts of growing length, at growing depth."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from llmkit.engine.config import SamplingConfig
from llmkit.errors import DataError, UsageError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import encode_line
from llmkit.formats.streams import open_input, open_output
from llmkit.probe.evaluate.grid import (
    LengthScore,
    TaskGrid,
    check_depths,
    default_lengths,
    effective_length,
    task_grid,
)
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.hidden import Hay, Hidden, split_sentences
from llmkit.probe.evaluate.intervals import mean_error
from llmkit.probe.evaluate.matching import judge
from llmkit.probe.evaluate.needle import ANSWERS, NEEDLE, QUESTION, Needle, Tokens
from llmkit.probe.evaluate.needle_tasks import (
    Material,
    Place,
    PromptMaker,
    answer_tokens,
    expand_tasks,
    has_depth,
)
from llmkit.probe.evaluate.tasks_config import NeedleConfig
from llmkit.probe.evaluate.words import NOISE
from llmkit.progress import SILENT, Progress
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.records import Records, check_records, inputs_told, open_records
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
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
    samples: int
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
        progress: hears of prompts answered.
        clock: in seconds.

    Raises:
        UsageError: a length that the model or the task has no room for, or options that make no sense.
        DataError, MissingError, ConfigError, ResourceError, StoppedResumable: see `open_scorer` and
            `open_records`.
    """
    inputs = [] if haystack is None else [haystack]
    check_records(per_record, force=force, inputs=inputs)
    scorer, config = _opened(model, config)
    places, maker = _places(config), _maker(scorer, config, haystack)
    begun = clock()
    settings = (asdict(config), scorer.fingerprint, inputs_told(inputs))
    with open_records(model.kept(per_record), settings, force=force, inputs=inputs) as records:
        found = list(_answered(scorer, places, maker, config, records, progress))
        notes = (*scorer.notes, *records.notes)
    return _report(scorer, config, found, clock() - begun, notes)


def write_prompts(
    model: ModelOptions,
    config: NeedleConfig,
    path: Path,
    *,
    haystack: Path | None = None,
    force: bool = False,
) -> int:
    """The prompts as jsonl: {"id", "task", "length", "depth", "prompt", "prefix", "answers"}.

    Args:
        model: whose tokenizer measures them; its weights are not read.
        config: what is hidden, and where.
        path: of the file; `-` is stdout.
        haystack: a text to hide it in; None: noise.
        force: replace the file.

    Returns:
        How many there are.

    Raises:
        UsageError, DataError, MissingError, ConfigError: see `eval_needle`.
    """
    scorer, config = _opened(model, config)
    places, maker = _places(config), _maker(scorer, config, haystack)
    with open_output(path, force=force, inputs=[] if haystack is None else [haystack]) as stream:
        for place in places:
            hidden = maker.make(place)
            name = f"{place.task}/{place.length}/{place.depth}/{place.sample}"
            told = {"id": name, "task": place.task, "length": place.length, "depth": place.depth}
            stream.write(encode_line(told | asdict(hidden)))
    return len(places)


def _opened(model: ModelOptions, config: NeedleConfig) -> tuple[Scorer, NeedleConfig]:
    check_depths(config.depths)
    tasks = expand_tasks(config.tasks)
    scorer = open_scorer(model)
    lengths = tuple(sorted(set(config.lengths))) or default_lengths(scorer.context)
    if lengths[-1] > scorer.context:
        factor = -(-lengths[-1] // scorer.context)
        raise UsageError(
            f"--lengths {lengths[-1]:,}: the model has a context of {scorer.context:,}",
            hint=f"--rope-scaling yarn:{factor} stretches it, or shorter --lengths",
        )
    scorer.longest = lengths[-1]
    return scorer, replace(config, tasks=tasks, lengths=lengths)


def _places(config: NeedleConfig) -> list[Place]:
    return [
        Place(task=task, length=length, depth=depth, sample=sample)
        for task in config.tasks
        for length in config.lengths
        for depth in (config.depths if has_depth(task) else (None,))
        for sample in range(config.samples)
    ]


def _read_hay(haystack: Path | None) -> tuple[str, Hay]:
    """The text that things are hidden in, and its sentences; noise has none."""
    if haystack is None:
        return " ".join(NOISE) + " ", Hay()
    with open_input(haystack) as stream:
        content = stream.read()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{haystack}: not UTF-8 ({error})", hint="convert it to UTF-8") from None
    hay = Hay(tuple(split_sentences(text)))
    if not hay.sentences:
        raise DataError(f"{haystack}: no text", hint="a text of some sentences")
    return text, hay


def _maker(scorer: Scorer, config: NeedleConfig, haystack: Path | None) -> PromptMaker:
    text, hay = _read_hay(haystack)
    encoder, tokenizer = scorer.encoder, scorer.tokenizer
    tokens = Tokens(
        lambda one: encoder.encode(one, special=False),
        tokenizer.decode,
        tuple(encoder.encode(text, special=False)),
    )
    needle = Needle(
        needle=NEEDLE if config.needle is None else config.needle,
        question=QUESTION if config.question is None else config.question,
        answers=ANSWERS if not config.answers else config.answers,
        values=config.values,
        words=config.words,
    )
    material = Material(needle=needle, hay=hay, tokens=tokens, seed=config.seed)
    return PromptMaker(material, lambda one: len(_ids(scorer, one, config)), max_tokens=config.max_tokens)


def _ids(scorer: Scorer, hidden: Hidden, config: NeedleConfig) -> list[int]:
    """The prompt as the model gets it: as it is, or as a user's message with the answer begun."""
    if not config.chat:
        return scorer.encoder.encode(hidden.prompt + hidden.prefix)
    rendered = scorer.encoder.render([{"role": "user", "content": hidden.prompt}])
    return scorer.encoder.encode_rendered(rendered + hidden.prefix.lstrip())


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
            ids = _ids(scorer, hidden, config)
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
    every = [float(one["score"]) for one in found]
    mean = 100 * sum(every) / len(every)
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
        samples=len(every),
        headline=Headline(name="needle_score", value=mean, error=100 * mean_error(every), better="higher"),
        seconds=seconds,
        notes=notes,
    )
