"""The two sides of `llmkit eval diff`: reports, or records that are paired."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError, some_of
from llmkit.formats.jsonl import MALFORMED, decode_all, parse_records
from llmkit.formats.streams import input_name, open_input
from llmkit.workflows.eval.gates import Earlier, parse_earlier

DIGESTS = ("prompt_sha256", "text_sha256")
"""Keys of a record under which the digest of what was asked stands."""


@dataclass(frozen=True)
class Records:
    """What --per-record wrote."""

    name: str
    """Of the file, as messages call it."""
    records: list[dict[str, Any]]


@dataclass(frozen=True)
class Pairs:
    """What a metric is in the records that two results have in common."""

    known: list[tuple[str, float, float]]
    """Name, value in the first, value in the second."""
    left_out: int
    """That have no such value in one of the two."""
    only_a: int
    only_b: int
    are_binary: bool
    """Whether all values are right or wrong."""
    have_samples: bool
    """Whether a task has several records, whose mean its value is."""


def read_result(path: Path) -> Earlier | Records:
    """A report of --json, or what --per-record wrote.

    Args:
        path: `-` is stdin.

    Raises:
        MissingError: no such file.
        DataError: it is neither, or has no records.
    """
    with open_input(path) as stream:
        content = stream.read()
    name = input_name(path)
    try:
        whole = msgspec.json.decode(content)
    except MALFORMED:
        whole = None
    if isinstance(whole, dict) and "headline" in whole:
        return parse_earlier(content, name)
    records = [decode_all(line) for line in parse_records(io.BytesIO(content), name)]
    if not records:
        raise DataError(f"{name}: no records", hint="llmkit eval … --per-record writes them")
    return Records(name, records)


def pair_records(before: Records, after: Records, metric: str, *, common: bool) -> Pairs:
    """Pair the records of two results.

    Args:
        before, after: the results.
        metric: a key of their records.
        common: leave out what only one of them has.

    Raises:
        DataError: only one has a record, they have none in common, or one is no number or of another text.
    """
    ours, theirs = by_name(before), by_name(after)
    only_a, only_b = [one for one in ours if one not in theirs], [one for one in theirs if one not in ours]
    if (only_a or only_b) and not common:
        where = before.name if only_a else after.name
        raise DataError(
            f"only {where} has record {some_of(only_a or only_b)}",
            hint="give both the same inputs, or compare what they have in common: --common",
        )
    both = f"{before.name} and {after.name}"
    values, left_out = [], 0
    for name in (one for one in ours if one in theirs):
        check_pair(name, ours[name][0], theirs[name][0], both)
        x = _mean_metric(before, name, ours[name], metric)
        y = _mean_metric(after, name, theirs[name], metric)
        if x is None or y is None:
            left_out += 1
        else:
            values.append((name, x, y))
    if not values:
        raise DataError(f"{both} have no record in common", hint="are the ids the same?")
    return Pairs(
        known=[(name, float(x), float(y)) for name, x, y in values],
        left_out=left_out,
        only_a=len(only_a),
        only_b=len(only_b),
        are_binary=all(isinstance(x, bool) and isinstance(y, bool) for _, x, y in values),
        have_samples=any(len(records) > 1 for side in (ours, theirs) for records in side.values()),
    )


def by_name(result: Records) -> dict[str, list[dict[str, Any]]]:
    """The records of each thing that was asked, which two results are paired by.

    Samples of one task go together: they are not independent. Else each record is alone, by its id where
    ids are unique, and by its place where they are not.
    """
    ids = [str(record.get("id", "")) for record in result.records]
    if len(set(ids)) < len(ids):
        ids = _tasks(result.records) or [f"#{place}" for place in range(len(ids))]
    found: dict[str, list[dict[str, Any]]] = {}
    for name, record in zip(ids, result.records, strict=True):
        found.setdefault(name, []).append(record)
    return found


def _tasks(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each sample of `eval gen` its task, by id where no two have one; nothing of other records."""
    if not all({"id", "task", "sample"} <= record.keys() for record in records):
        return []
    pairs = {(str(record["id"]), str(record["task"])) for record in records}
    if len({name for name, _ in pairs}) == len(pairs):
        return [str(record["id"]) for record in records]
    return [f"#{record['task']}" for record in records]


def check_pair(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> None:
    """Refuse a pair that is of two texts; those of needles have no id, and are made to measure.

    Args:
        name: of both.
        ours, theirs: the records.
        where: the files.

    Raises:
        DataError: they do not belong together.
    """
    for key in DIGESTS:
        if "id" in ours and key in ours and key in theirs and ours[key] != theirs[key]:
            raise DataError(
                f"{where}: record {name} is of other texts ({key})", hint="give both the same inputs"
            )


def _mean_metric(
    result: Records, name: str, records: Sequence[Mapping[str, Any]], metric: str
) -> bool | float | None:
    """The value of one record, or the mean of several; see `_metric_of`. None where none has one."""
    known = [value for one in records if (value := _metric_of(result, name, one, metric)) is not None]
    if len(known) < 2:
        return known[0] if known else None
    return math.fsum(known) / len(known)


def _metric_of(result: Records, name: str, record: Mapping[str, Any], metric: str) -> bool | float | None:
    """The value of a record.

    Args:
        result: whose.
        name: of the record.
        record: itself.
        metric: a key.

    Raises:
        DataError: it has no such key, or no number there.
    """
    if metric not in record:
        raise DataError(
            f"{result.name}: record {name} has no {metric!r} (found: {', '.join(record)})",
            hint="--metric KEY names another",
        )
    value = record[metric]
    if value is not None and not isinstance(value, bool | int | float):
        raise DataError(f"{result.name}: record {name}: {metric!r} is no number", hint="--metric KEY")
    return value
