"""llmkit eval diff: two results of one evaluation, and whether the second is worse beyond noise."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from llmkit.errors import DataError, some_of
from llmkit.formats.jsonl import MALFORMED, decode_all, read_records
from llmkit.formats.streams import open_input
from llmkit.probe.evaluate.compare import ENUMERATED, ROUNDS, mcnemar, sign_flip, two_sided
from llmkit.probe.evaluate.config import DiffConfig
from llmkit.probe.evaluate.headline import Z95, Headline
from llmkit.probe.evaluate.intervals import Interval, bootstrap_mean
from llmkit.workflows.eval.gates import read_headline
from llmkit.workflows.eval.increase import Increase, find_increases

SCHEMA = "llmkit.eval.diff/1"
METRICS = ("correct", "score", "bits_per_byte", "nll_per_token", "kld")
"""What is looked for in records, in this order."""
LOWER = ("nll", "perplexity", "bits", "kld", "loss", "error")
"""A metric with one of these in its name is better where it is lower."""
_SHOWN = 10


class ChangedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is worse in the second."""

    id: str
    before: float
    after: float


class ChangeTable(msgspec.Struct, frozen=True, kw_only=True):
    """Of records that are right or wrong."""

    both_right: int
    lost: int
    won: int
    both_wrong: int


class DiffReport(msgspec.Struct, frozen=True, kw_only=True):
    """B beside A. `difference` is B less A."""

    schema: str = SCHEMA
    a: str
    b: str
    metric: str
    better: Literal["higher", "lower"]
    records: int | None
    """That both have; None of two reports."""
    only_a: int
    only_b: int
    value_a: float
    value_b: float
    difference: float
    interval: Interval
    p_value: float
    test: str
    table: ChangeTable | None
    worst: list[ChangedRecord]
    """Records that lost most, at most 10."""
    verdict: Literal["better", "worse", "no difference"]
    increases: list[Increase] = []
    """Of reports, those that were asked for."""
    headline: Headline
    notes: list[str]


@dataclass(frozen=True)
class _Result:
    """One side."""

    path: Path
    headline: Headline | None
    """Of a report; None of records."""
    records: list[dict[str, Any]]
    report: Mapping[str, Any]
    """Of a report, all of it."""


def eval_diff(a: Path, b: Path, config: DiffConfig) -> DiffReport:
    """Compare two results.

    Args:
        a: before: a report (--json) or records (--per-record).
        b: after, of the same kind.
        config: how.

    Raises:
        DataError: the two cannot be compared: other kinds, metrics or records.
        MissingError: a file is not there.
    """
    before, after = _read(a), _read(b)
    if (before.headline is None) != (after.headline is None):
        raise DataError(
            f"{a} and {b}: a report and records", hint="compare two --json reports, or two --per-record files"
        )
    if before.headline is not None and after.headline is not None:
        increases = find_increases((a, before.report), (b, after.report), config.max_increase)
        return _of_reports(before.headline, after.headline, a, b, config, increases)
    if config.max_increase:
        raise DataError(
            f"{a} and {b}: records, and --max-increase is of two --json reports",
            hint="leave it out: records are compared pair by pair",
        )
    return _of_records(before, after, config)


def _read(path: Path) -> _Result:
    with open_input(path) as stream:
        content = stream.read()
    try:
        whole = msgspec.json.decode(content)
    except MALFORMED:
        whole = None
    if isinstance(whole, dict) and "headline" in whole:
        return _Result(path, read_headline(path), [], whole)
    records = [decode_all(line) for line in read_records(path)]
    if not records:
        raise DataError(f"{path}: no records", hint="llmkit eval … --per-record writes them")
    return _Result(path, None, records, {})


def _of_reports(
    before: Headline, after: Headline, a: Path, b: Path, config: DiffConfig, increases: list[Increase]
) -> DiffReport:
    """Two figures, taken as independent."""
    if (before.name, before.better) != (after.name, after.better):
        raise DataError(f"{a} has {before.name}, {b} has {after.name}", hint="compare results of one command")
    error = math.hypot(before.error, after.error)
    difference = after.value - before.value
    p_value = two_sided(difference / error) if error else float(difference == 0)
    return DiffReport(
        a=str(a),
        b=str(b),
        metric=before.name,
        better=before.better,
        records=None,
        only_a=0,
        only_b=0,
        value_a=before.value,
        value_b=after.value,
        difference=difference,
        interval=Interval(
            low=difference - Z95 * error,
            high=difference + Z95 * error,
            method="1.96 standard errors, the two reports taken as independent",
        ),
        p_value=p_value,
        test="z of two independent figures",
        table=None,
        worst=[],
        verdict=_verdict(difference, p_value, before.better, config.alpha),
        increases=increases,
        headline=Headline(name="difference", value=difference, error=error, better=before.better),
        notes=["--per-record files of both compare record by record, which finds smaller differences"],
    )


def _of_records(before: _Result, after: _Result, config: DiffConfig) -> DiffReport:
    metric = config.metric or _metric(before, after)
    lower = config.lower_is_better
    if lower is None:
        lower = any(word in metric for word in LOWER)
    better: Literal["higher", "lower"] = "lower" if lower else "higher"
    ours, theirs = _values(before, metric), _values(after, metric)
    common = [name for name in ours if name in theirs]
    only_a, only_b = [one for one in ours if one not in theirs], [one for one in theirs if one not in ours]
    if (only_a or only_b) and not config.common:
        where = before.path if only_a else after.path
        raise DataError(
            f"only {where} has record {some_of(only_a or only_b)}",
            hint="give both the same inputs, or compare what they have in common: --common",
        )
    pairs = [(name, ours[name], theirs[name]) for name in common]
    known = [(name, float(x), float(y)) for name, x, y in pairs if x is not None and y is not None]
    if not known:
        raise DataError(
            f"{before.path} and {after.path} have no record in common", hint="are the ids the same?"
        )
    is_binary = all(isinstance(x, bool) and isinstance(y, bool) for _, x, y in pairs)
    differences = [y - x for _, x, y in known]
    low, high = bootstrap_mean(differences, seed=config.seed)
    table = _table(known) if is_binary else None
    if table is not None:
        p_value, test = mcnemar(table.lost, table.won), "McNemar's, exact"
    else:
        changed = sum(one != 0 for one in differences)
        p_value = sign_flip(differences, seed=config.seed)
        test = "sign flips, " + ("all of them" if changed <= ENUMERATED else f"{ROUNDS:,} at random")
    mean_a = math.fsum(x for _, x, _ in known) / len(known)
    mean_b = math.fsum(y for _, _, y in known) / len(known)
    difference = math.fsum(differences) / len(known)
    left_out = len(pairs) - len(known)
    return DiffReport(
        a=str(before.path),
        b=str(after.path),
        metric=metric,
        better=better,
        records=len(known),
        only_a=len(only_a),
        only_b=len(only_b),
        value_a=mean_a,
        value_b=mean_b,
        difference=difference,
        interval=Interval(
            low=low,
            high=high,
            method=f"paired bootstrap of {len(known)} records, 10,000 samples, percentiles",
        ),
        p_value=p_value,
        test=test,
        table=table,
        worst=_worst(known, lower),
        verdict=_verdict(difference, p_value, better, config.alpha),
        headline=Headline(name="difference", value=difference, error=(high - low) / 2 / Z95, better=better),
        notes=[f"{left_out:,} records have no {metric} in one of the two"] if left_out else [],
    )


def _metric(before: _Result, after: _Result) -> str:
    for name in METRICS:
        if all(name in record for side in (before, after) for record in side.records):
            return name
    found = ", ".join(before.records[0])
    raise DataError(
        f"{before.path}: no {', '.join(METRICS)} in every record of both (found: {found})",
        hint="--metric KEY names another",
    )


def _values(result: _Result, metric: str) -> dict[str, bool | float | None]:
    """Of each record its metric, by id where ids are unique, else by place."""
    ids = [str(record.get("id", "")) for record in result.records]
    names = ids if len(set(ids)) == len(ids) else [f"#{place}" for place in range(len(ids))]
    found: dict[str, bool | float | None] = {}
    for name, record in zip(names, result.records, strict=True):
        if metric not in record:
            raise DataError(
                f"{result.path}: record {name} has no {metric!r} (found: {', '.join(record)})",
                hint="--metric KEY names another",
            )
        value = record[metric]
        if value is not None and not isinstance(value, bool | int | float):
            raise DataError(f"{result.path}: record {name}: {metric!r} is no number", hint="--metric KEY")
        found[name] = value
    return found


def _table(known: Sequence[tuple[str, float, float]]) -> ChangeTable:
    cells = [(x, y) for _, x, y in known]
    return ChangeTable(
        both_right=cells.count((1.0, 1.0)),
        lost=cells.count((1.0, 0.0)),
        won=cells.count((0.0, 1.0)),
        both_wrong=cells.count((0.0, 0.0)),
    )


def _worst(known: Sequence[tuple[str, float, float]], lower: bool) -> list[ChangedRecord]:
    sign = 1 if lower else -1
    lost = sorted(known, key=lambda one: sign * (one[1] - one[2]))
    return [ChangedRecord(id=name, before=x, after=y) for name, x, y in lost[:_SHOWN] if sign * (y - x) > 0]


def _verdict(
    difference: float, p_value: float, better: str, alpha: float
) -> Literal["better", "worse", "no difference"]:
    if p_value >= alpha or difference == 0:
        return "no difference"
    return "better" if (difference > 0) == (better == "higher") else "worse"
