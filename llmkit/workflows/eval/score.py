"""llmkit eval score: outputs that are there already, held against their answers; no model."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError, UsageError, at_place
from llmkit.formats.amount_text import plural
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import Line, decode_field, encode_line, read_records, record_id
from llmkit.formats.streams import STDIO, input_name
from llmkit.probe.evaluate.config import Match, ScoreConfig
from llmkit.probe.evaluate.extract import compile_extract, extract
from llmkit.probe.evaluate.headline import Z95, Headline
from llmkit.probe.evaluate.intervals import Interval, bootstrap_interval, mean_error, wilson
from llmkit.probe.evaluate.matching import GRADED, Judgement, judge
from llmkit.workflows.eval.gates import Earlier, check_alike
from llmkit.workflows.eval.records import Records, another_input, check_records, inputs_told, open_records
from llmkit.workflows.eval.task_lines import nothing_in
from llmkit.workflows.eval.work import INPUTS, Work, digest_all

SCHEMA = "llmkit.eval.score/1"
NO_OUTPUT = "(no output)"
"""The group of answers that no output has the id of, where the answers have no key to group them by."""
_NOTHING = Judgement(0.0, None)
"""Of an answer without an output."""


class GroupScore(msgspec.Struct, frozen=True, kw_only=True):
    """The records that have one value in common."""

    group: str
    records: int
    score: float


class ScoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `score` is the mean over records; where each is right or wrong it is the accuracy."""

    schema: str = SCHEMA
    outputs: str
    match: Match
    records: int
    correct: int
    score: float
    interval: Interval | None
    """None of one record that is neither right nor wrong, but so far right: it says nothing of others."""
    nothing_found: int
    """Outputs that hold nothing of the kind: no number, no choice, no match of --extract. They are wrong."""
    without_output: int = 0
    """Answers of --answers that no output has the id of. They are among the records, and wrong."""
    groups: list[GroupScore]
    work: Work
    headline: Headline


def eval_score(
    outputs: Path,
    config: ScoreConfig,
    *,
    answers: Path | None = None,
    by: str | None = None,
    per_record: Path | None = None,
    force: bool = False,
    before: Earlier | None = None,
) -> ScoreReport:
    """Judge outputs.

    Args:
        outputs: jsonl, each with an output and its answer; `-` is stdin.
        config: how.
        answers: jsonl with the answers, by the outputs' ids; None: they stand beside the outputs.
        by: a key whose values make groups; of answers without an output, their own value of it, if any.
        per_record: where a line for each output goes.
        force: replace it.
        before: an earlier report, which must be of the same work, as far as that is known at the start.

    Raises:
        UsageError: --extract is no regular expression; --which without it; or see `check_records`.
        DataError: a record has no output, no answer, or one that cannot be held against anything; two
            outputs have one answer of `answers`; an interrupted run had others.
        MissingError: a file is not there.
    """
    inputs = [outputs, *([answers] if answers is not None else [])]
    check_records(per_record, force=force, inputs=inputs)
    if config.extract is None and config.which != ScoreConfig.which:
        raise UsageError(
            f"--which {config.which} does nothing without --extract", hint=r"--extract 'Answer: (\w+)'"
        )
    pattern = compile_extract(config.extract)
    work: Work = {
        "match": config.match,
        "extract": config.extract,
        "which": config.which,
        "ignore_case": config.ignore_case,
    }
    check_alike(work, before, _figure(config.match))
    known = None if answers is None else _answers_by_id(answers, config.answer_field, by)
    scores: list[float] = []
    right: list[str] = []
    groups: dict[str, list[float]] = defaultdict(list)
    correct = nothing = count = 0
    seen: set[str] = set()
    settings = (asdict(config), by, inputs_told(inputs))
    with open_records(per_record, settings, force=force, inputs=inputs) as records:
        for index, line in enumerate(read_records(outputs)):
            if known is None:
                answer = _answers(line, config.answer_field)
            else:
                answer = _known(line, known, answers, seen)
            judgement = _judged(line, config, pattern, answer)
            scores.append(judgement.score)
            right.append(digest_bytes(encode_line([record_id(line), answer])))
            correct += judgement.correct
            nothing += judgement.found is None
            if by is not None:
                groups[_group(line, by)].append(judgement.score)
            name = record_id(line) or str(index)
            _keep(records, {"index": index, "id": name, **_told(judgement), "answer": answer})
            count = index + 1
        if not count:
            raise nothing_in(outputs, "outputs", "llmkit generate --jsonl … writes them")
        missing = {name: one for name, one in (known or {}).items() if name not in seen}
        for index, (name, one) in enumerate(missing.items(), count):
            scores.append(_NOTHING.score)
            if by is not None:
                groups[one.group].append(_NOTHING.score)
            right.append(digest_bytes(encode_line([name, one.texts])))
            _keep(records, {"index": index, "id": name, **_told(_NOTHING), "answer": one.texts})
        records.check_all_read(len(scores))
    work[INPUTS] = digest_all(sorted(right))  # outputs come in any order
    return _report(outputs, config.match, scores, correct, nothing, len(missing), groups, work)


def _told(judgement: Judgement) -> dict[str, Any]:
    return {"score": judgement.score, "correct": judgement.correct, "found": judgement.found}


def _keep(records: Records, record: dict[str, Any]) -> None:
    """Write a record, or see that the one which an interrupted run wrote says the same."""
    index = record["index"]
    if index not in records.done:
        records.write(record)
    elif encode_line(records.done[index]) != encode_line(record):
        raise another_input(f"record {index} ({record['id']!r})")


def _figure(match: Match) -> str:
    """The name of what a run is judged by."""
    return match if match in GRADED else "accuracy"


def _report(
    outputs: Path,
    match: Match,
    scores: list[float],
    correct: int,
    nothing: int,
    missing: int,
    groups: Mapping[str, list[float]],
    work: Work,
) -> ScoreReport:
    mean = sum(scores) / len(scores)
    interval, error = _uncertainty(match, scores, correct)
    return ScoreReport(
        outputs=input_name(outputs),
        match=match,
        records=len(scores),
        correct=correct,
        score=mean,
        interval=interval,
        nothing_found=nothing,
        without_output=missing,
        groups=[
            GroupScore(group=name, records=len(found), score=sum(found) / len(found))
            for name, found in sorted(groups.items())
        ],
        work=work,
        headline=Headline(name=_figure(match), value=mean, error=error or None, better="higher"),
    )


def _uncertainty(match: Match, scores: list[float], correct: int) -> tuple[Interval | None, float]:
    """The interval of the mean, and its standard error; 0 where it is not known."""
    count = len(scores)
    if match not in GRADED:
        low, high = wilson(correct, count)
        interval = Interval(low=low, high=high, method=f"Wilson's, of {plural(count, 'record')}")
        return interval, (high - low) / 2 / Z95
    return bootstrap_interval(scores, f"bootstrap of {plural(count, 'record')}"), mean_error(scores)


def _judged(
    line: Line, config: ScoreConfig, pattern: re.Pattern[str] | None, answers: list[str]
) -> Judgement:
    output = extract(pattern, decode_field(line, config.output_field, str), config.which)
    if output is None:
        return _NOTHING
    with at_place(line.where):
        return judge(config.match, output, answers, ignore_case=config.ignore_case)


def _answers(line: Line, field: str) -> list[str]:
    value = decode_field(line, field, str | int | float | bool | list[str | int | float])
    return [_as_text(one) for one in (value if isinstance(value, list) else [value])]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@dataclass(frozen=True)
class _Known:
    """What one record of --answers says."""

    texts: list[str]
    group: str
    """That it counts in where no output has its id."""


def _answers_by_id(path: Path, field: str, by: str | None) -> dict[str, _Known]:
    """The answers by id; `by` is the key whose value is their group, of those that have one."""
    if path == STDIO:
        raise UsageError("--answers -: name a file", hint="the outputs may come from stdin")
    found: dict[str, _Known] = {}
    for line in read_records(path):
        name = record_id(line)
        if name is None or name in found:
            raise DataError(
                f"{line.where}: {'no id' if name is None else f'a second record with id {name!r}'}",
                hint="answers are looked up by id",
            )
        group = _group(line, by) if by is not None and by in line.record else NO_OUTPUT
        found[name] = _Known(_answers(line, field), group)
    return found


def _known(line: Line, known: Mapping[str, _Known], path: Path | None, seen: set[str]) -> list[str]:
    """The answer to an output; its id joins those that were seen."""
    name = record_id(line)
    if name is None or name not in known:
        what = "no id to look up" if name is None else f"no answer for id {name!r} in {path}"
        raise DataError(f"{line.where}: {what}", hint="each output needs the id of its answer")
    if name in seen:
        raise DataError(
            f"{line.where}: a second output with id {name!r}",
            hint="--answers has one answer for each; several samples of one need their answers beside them",
        )
    seen.add(name)
    return known[name].texts


def _group(line: Line, by: str) -> str:
    return _as_text(decode_field(line, by, str | int | float | bool))
