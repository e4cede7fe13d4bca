"""llmkit eval gen: answers that a model writes, compared with the right ones or tried by a command."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from llmkit.engine.config import SamplingConfig
from llmkit.engine.seeds import derive_seed
from llmkit.errors import DataError, UsageError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import encode_line
from llmkit.probe.evaluate.generation import check_ks, pass_at_k
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.intervals import mean_error
from llmkit.probe.evaluate.tasks_config import GenConfig, WrittenForm
from llmkit.probe.evaluate.written_tasks import STOPS, TOKENS
from llmkit.progress import SILENT, Progress
from llmkit.workflows.eval.gates import Earlier, check_alike
from llmkit.workflows.eval.gen_judge import Judge, open_judge
from llmkit.workflows.eval.gen_tasks import Item, read_items
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.records import Records, check_records, inputs_told, open_records
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.eval.task_lines import check_examples
from llmkit.workflows.eval.work import INPUTS, Work, digest_all
from llmkit.workflows.eval.write import Written, write_texts

SCHEMA = "llmkit.eval.gen/1"


class PassAt(msgspec.Struct, frozen=True, kw_only=True):
    """The chance that one of k samples is right."""

    k: int
    value: float
    error: float
    """Standard error over tasks."""


class GenReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    schema: str = SCHEMA
    model: str
    form: WrittenForm
    judged_by: str
    """The match, or `command`."""
    shots: int
    tasks: int
    samples: int
    score: float
    """Mean over all samples."""
    score_error: float
    """Over tasks: samples of one task are not independent."""
    pass_at: list[PassAt]
    nothing_found: int
    """Samples in which nothing of the kind was found; they count as wrong."""
    cut_off: int
    """Samples that ended with --max-tokens or the context."""
    completion_tokens: int
    work: Work
    headline: Headline
    seconds: float
    notes: tuple[str, ...]


def eval_gen(
    model: ModelOptions,
    path: Path,
    config: GenConfig,
    *,
    dev: Path | None = None,
    per_record: Path | None = None,
    force: bool = False,
    before: Earlier | None = None,
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> GenReport:
    """Have a model write answers, and judge them.

    Args:
        model: which.
        path: jsonl of tasks; `-` is stdin.
        config: how they are put and judged.
        dev: jsonl of examples, where there are to be some.
        per_record: where a line for each sample goes; see `open_records`.
        force: replace it.
        before: an earlier report, which must be of the same work, as far as that is known at the start.
        progress: hears of samples judged.
        clock: in seconds.

    Raises:
        UsageError: options that do not go together.
        DataError: a record is no task of the form, or too long, or there are too few examples.
        MissingError, ConfigError, ResourceError, StoppedResumable: see `open_scorer`, `Verifier.check` and
            `open_records`.
    """
    check_examples(config.shots, dev, "llmkit eval gen MODEL test.jsonl --shots 5 --dev train.jsonl")
    check_ks(config.ks, config.samples)
    inputs = [path, *([dev] if dev is not None else [])]
    check_records(per_record, force=force, inputs=[*inputs, *model.paths])
    form, items = read_items(path, dev, config)
    decides = open_judge(form, config)
    decides.check(items)
    scorer = open_scorer(model)
    sampling = _sampling(form, config)
    prompts = _encoded(scorer, items, config)
    scorer.longest = max(map(len, prompts)) + sampling.max_tokens
    begun = clock()
    work = _work(form, items, decides, config)
    check_alike(work, before, _figure(config))
    settings = (asdict(config), form, scorer.fingerprint, inputs_told(inputs), work[INPUTS])
    with open_records(model.kept(per_record), settings, force=force, inputs=inputs) as records:
        written = _written(scorer, items, prompts, sampling, records)
        found = list(_judged(written, items, decides, config.verify_jobs, records, progress))
        notes = (*scorer.notes, *records.notes, *decides.notes(found))
    return _report(scorer.name, form, decides, config, found, work, clock() - begun, notes)


def _sampling(form: WrittenForm, config: GenConfig) -> SamplingConfig:
    if config.samples > 1 and config.temperature == 0:
        raise UsageError(
            f"--samples {config.samples} at temperature 0 are all the same", hint="--temperature 0.8"
        )
    return SamplingConfig(
        max_tokens=config.max_tokens or TOKENS[form],
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
        stop=STOPS[form] if config.stop is None else config.stop,
        seed=config.seed,
    )


def _encoded(scorer: Scorer, items: Sequence[Item], config: GenConfig) -> list[list[int]]:
    """Ids of each prompt; one that leaves no room for an answer is found before any work."""
    prompts: list[list[int]] = []
    for item in items:
        if item.sample:
            prompts.append(prompts[-1])
        elif config.chat:
            rendered = scorer.encoder.render([{"role": "user", "content": item.prompt}])
            prompts.append(scorer.encoder.encode_rendered(rendered))
        else:
            prompts.append(scorer.encoder.encode(item.prompt))
        if len(prompts[-1]) >= scorer.context:
            raise DataError(
                f"{item.where}: {len(prompts[-1]):,} tokens, "
                f"which leave no room in the context of {scorer.context:,}",
                hint="fewer --shots, or --rope-scaling to stretch the context",
            )
    return prompts


def _written(
    scorer: Scorer,
    items: Sequence[Item],
    prompts: Sequence[Sequence[int]],
    sampling: SamplingConfig,
    records: Records,
) -> Iterator[Written]:
    """A text for each sample that has none yet."""

    def requests() -> Iterator[tuple[Sequence[int], SamplingConfig]]:
        for item, ids in zip(items, prompts, strict=True):
            if item.index not in records.done:
                seed = derive_seed(sampling.seed, f"{item.digest}/{item.sample}")
                yield ids, replace(sampling, seed=seed)

    return write_texts(scorer, requests())


def _judged(
    written: Iterator[Written],
    items: Sequence[Item],
    decides: Judge,
    jobs: int,
    records: Records,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """A record for each sample, in order, written where it is new; judged while others are written."""

    def one(item: Item, text: Written) -> dict[str, Any]:
        told: dict[str, Any] = {
            "index": item.index,
            "id": item.task.id or str(item.task_index),
            "task": item.task_index,
            "sample": item.sample,
            "prompt_sha256": item.digest,
            "completion": text.text,
            "tokens": text.tokens,
            "finish_reason": text.finish,
        }
        return told | decides.told(item, text.text)

    waiting: deque[tuple[Item, Future[dict[str, Any]] | None]] = deque()
    count = 0

    def first() -> dict[str, Any]:
        nonlocal count
        item, future = waiting.popleft()
        count += 1
        if future is None:
            return records.earlier(item.index, item.digest, f"task {item.task_index}")
        told = future.result()
        records.write(told)
        progress.update(count, len(items))
        return told

    with ThreadPoolExecutor(jobs) as pool:
        for item in items:
            is_done = item.index in records.done
            waiting.append((item, None if is_done else pool.submit(one, item, next(written))))
            while waiting and (len(waiting) > 4 * jobs or waiting[0][1] is None or waiting[0][1].done()):
                yield first()
        while waiting:
            yield first()


def _work(form: WrittenForm, items: Sequence[Item], decides: Judge, config: GenConfig) -> Work:
    """What is asked and what is right; how the model writes is what may differ."""
    tasks = (encode_line([one.prompt, one.record]) for one in items if not one.sample)
    return {
        "form": form,
        "judged_by": decides.name,
        "extract": config.extract,
        "shots": config.shots,
        "max_tokens": config.max_tokens,
        INPUTS: digest_all(map(digest_bytes, tasks)),
    }


def _figure(config: GenConfig) -> str:
    """The name of what a run is judged by."""
    return f"pass@{config.ks[0]}"


def _report(
    name: str,
    form: WrittenForm,
    decides: Judge,
    config: GenConfig,
    found: Sequence[Mapping[str, Any]],
    work: Work,
    seconds: float,
    notes: tuple[str, ...],
) -> GenReport:
    n = config.samples
    tasks = [found[first : first + n] for first in range(0, len(found), n)]
    means = [sum(one["score"] for one in task) / n for task in tasks]
    pass_at = []
    for k in config.ks:
        values = [pass_at_k(n, sum(one["correct"] for one in task), k) for task in tasks]
        pass_at.append(PassAt(k=k, value=sum(values) / len(values), error=mean_error(values)))
    return GenReport(
        model=name,
        form=form,
        judged_by=decides.name,
        shots=config.shots,
        tasks=len(tasks),
        samples=n,
        score=sum(means) / len(means),
        score_error=mean_error(means),
        pass_at=pass_at,
        nothing_found=sum(one["found"] is None for one in found),
        cut_off=sum(one["finish_reason"] == "length" for one in found),
        completion_tokens=sum(one["tokens"] for one in found),
        work=work,
        headline=Headline(
            name=_figure(config), value=pass_at[0].value, error=pass_at[0].error, better="higher"
        ),
        seconds=seconds,
        notes=notes,
    )
