"""llmkit eval mc: multiple-choice questions through a model, judged as lm-evaluation-harness does."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import at_place
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import decode_all, encode_line, read_records, record_id
from llmkit.probe.evaluate.choice import METRICS, Likelihood, choose
from llmkit.probe.evaluate.choice_tasks import Question, detect_form, read_question, with_examples
from llmkit.probe.evaluate.tasks_config import ChoiceForm, McConfig
from llmkit.progress import SILENT, Progress
from llmkit.workflows.eval.choices import Asked, check_room, likelihoods
from llmkit.workflows.eval.gates import Earlier, check_alike
from llmkit.workflows.eval.mc_report import McReport, mc_report
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.records import Records, check_records, inputs_told, open_records
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.eval.task_lines import check_examples, examples_of, has_enough, nothing_in
from llmkit.workflows.eval.work import INPUTS, Work, digest_all

_SPARE = 32
"""A text has no more tokens than bytes, but for what stands before it: these are not counted one by one."""


@dataclass(frozen=True)
class _Item:
    """A question where it stands."""

    index: int
    id: str
    question: Question
    context: str
    where: str

    @property
    def digest(self) -> str:
        """Of what is asked."""
        return digest_bytes(encode_line([self.context, self.question.continuations]))[:16]


def eval_mc(
    model: ModelOptions,
    path: Path,
    config: McConfig,
    *,
    dev: Path | None = None,
    per_record: Path | None = None,
    force: bool = False,
    before: Earlier | None = None,
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> McReport:
    """Ask a model questions by the likelihood of each answer.

    Args:
        model: which.
        path: jsonl of questions; `-` is stdin.
        config: how.
        dev: jsonl of examples, where there are to be some.
        per_record: where a line for each question goes; see `open_records`.
        force: replace it.
        before: an earlier report, which must be of the same work, as far as that is known at the start.
        progress: hears of questions asked.
        clock: in seconds.

    Raises:
        DataError: a record is no question of the form, or there are too few examples.
        UsageError, MissingError, ConfigError, ResourceError, StoppedResumable: see `open_scorer` and
            `open_records`.
    """
    check_examples(config.shots, dev, "llmkit eval mc MODEL test.jsonl --shots 5 --dev dev.jsonl")
    inputs = [path, *([dev] if dev is not None else [])]
    check_records(per_record, force=force, inputs=[*inputs, *model.paths])
    scorer = open_scorer(model)
    begun = clock()
    form, items = _read(path, dev, config)
    _check_lengths(scorer, items)
    work = _work(form, items, config)
    check_alike(work, before, config.metric)
    settings = (asdict(config), form, scorer.fingerprint, inputs_told(inputs), work[INPUTS])
    with open_records(model.kept(per_record), settings, force=force, inputs=inputs) as records:
        found = list(_judged(scorer, items, records, progress))
        notes = (*scorer.notes, *records.notes)
    return mc_report(scorer.name, form, config, found, work, clock() - begun, notes)


def _read(path: Path, dev: Path | None, config: McConfig) -> tuple[ChoiceForm, list[_Item]]:
    form: ChoiceForm | None = None if config.form == "auto" else config.form
    items: list[_Item] = []
    taken: Counter[str | None] = Counter()
    examples: dict[str | None, list[Question]] = {}
    for line in read_records(path):
        record = decode_all(line)
        with at_place(line.where):
            form = form or detect_form(record)
            question = read_question(record, form, group_by=config.by)
        if dev is not None and not examples:
            examples = _examples(dev, form, config)
        taken[question.group] += 1
        if config.limit is not None and taken[question.group] > config.limit:
            continue
        shown = _shown(examples, question, config.shots, dev)
        name = record_id(line) or str(len(items))
        items.append(_Item(len(items), name, question, with_examples(question, shown), line.where))
    if form is None or not items:
        raise nothing_in(path, "questions", "a line of JSON for each; see llmkit eval mc --help")
    return form, items


def _check_lengths(scorer: Scorer, items: Sequence[_Item]) -> None:
    """Find the answers that no context has room for before any weight is read.

    Raises:
        DataError: there is one: see `check_room`.
    """
    for item in items:
        for text in item.question.continuations:
            if 0 < len(text.encode()) < scorer.context - _SPARE:
                continue
            ids, begin = scorer.pair(item.context, text)
            with at_place(item.where):
                check_room(ids, begin, scorer.context)


def _examples(dev: Path, form: ChoiceForm, config: McConfig) -> dict[str | None, list[Question]]:
    """The first questions of each group, enough of them, and of the whole file under None."""
    found: dict[str | None, list[Question]] = defaultdict(list)
    for line in read_records(dev):
        record = decode_all(line)
        with at_place(line.where):
            question = read_question(record, form, group_by=config.by)
        for group in {None, question.group}:
            if not has_enough(found[group], config.shots):
                found[group].append(question)
    return found


def _shown(
    examples: Mapping[str | None, Sequence[Question]], question: Question, shots: int, dev: Path | None
) -> Sequence[Question]:
    if not shots:
        return ()
    group = "" if question.group is None else f", {question.group!r}"
    return examples_of(question, examples.get(question.group, ()), shots, f"{dev}{group}")


def _judged(
    scorer: Scorer, items: Sequence[_Item], records: Records, progress: Progress
) -> Iterator[dict[str, Any]]:
    """A record for each question, in order, written where it is new."""

    def asked() -> Iterator[Asked]:
        for item in items:
            if item.index not in records.done:
                yield Asked([scorer.pair(item.context, one) for one in item.question.continuations])

    answers = likelihoods(scorer, asked())
    for count, item in enumerate(items, 1):
        if item.index in records.done:
            yield records.earlier(item.index, item.digest, f"question {item.index}")
            continue
        answer = next(answers)
        told = _record(item, answer.choices, answer.truncated) | {"prompt_sha256": item.digest}
        records.write(told)
        progress.update(count, len(items))
        yield told


def _record(item: _Item, found: Sequence[Likelihood], truncated: bool) -> dict[str, Any]:
    question = item.question
    told: dict[str, Any] = {"index": item.index, "id": item.id, "group": question.group}
    if question.is_last_word:
        told |= dict.fromkeys(METRICS, found[0].is_greedy)
    else:
        verdict = choose(found, question.choices)
        told |= {name: getattr(verdict, name) == question.answer for name in METRICS}
        told["chosen"] = verdict.acc
    return told | {
        "correct": told["acc"],
        "answer": question.answer,
        "logprobs": [one.logprob for one in found],
        "greedy": [one.is_greedy for one in found],
        "tokens": [one.tokens for one in found],
        "truncated": truncated,
    }


def _work(form: ChoiceForm, items: Sequence[_Item], config: McConfig) -> Work:
    asked = digest_all(f"{item.digest} {item.question.answer}" for item in items)
    return {"form": form, "shots": config.shots, INPUTS: asked}
