"""llmkit eval diff: two results of one evaluation, and whether the second is worse beyond noise."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from llmkit.errors import DataError, UsageError, some_of
from llmkit.formats.streams import STDIO
from llmkit.probe.evaluate.compare import ENUMERATED, ROUNDS, mcnemar, sign_flip
from llmkit.probe.evaluate.config import DiffConfig
from llmkit.probe.evaluate.headline import Z95, Headline
from llmkit.probe.evaluate.intervals import Interval, bootstrap_interval
from llmkit.probe.evaluate.noise import noise_between
from llmkit.workflows.eval.diff_input import Records, by_name, check_pair, mean_metric, read_result
from llmkit.workflows.eval.gates import Earlier
from llmkit.workflows.eval.increase import Increase, find_increases
from llmkit.workflows.eval.work import TOKENS, check_same

SCHEMA = "llmkit.eval.diff/1"
METRICS = ("correct", "score", "bits_per_byte", "nll_per_token", "kld")
"""What is looked for in records, in this order."""
LOWER = ("nll", "perplexity", "bits", "kld", "loss", "error")
"""A metric with one of these in its name is better where it is lower."""
BY_BYTES = {"bpb", "bits_per_byte"}
"""Figures that tokenizers do not bear on."""
_SHOWN = 10
Verdict = Literal["better", "worse", "no difference", "not known"]


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
    """That both have, samples of one task counted as one; None of two reports."""
    only_a: int
    only_b: int
    value_a: float
    value_b: float
    difference: float
    interval: Interval | None
    """None, as p_value, of two reports whose noise is not known; also of one record."""
    p_value: float | None
    test: str
    table: ChangeTable | None
    worst: list[ChangedRecord]
    """Records that lost most, at most 10."""
    verdict: Verdict
    increases: list[Increase] = []
    """Of reports, those that were asked for."""
    headline: Headline
    notes: list[str]


def eval_diff(a: Path, b: Path, config: DiffConfig) -> DiffReport:
    """Compare two results.

    Args:
        a: before: a report (--json) or records (--per-record).
        b: after, of the same kind.
        config: how.

    Raises:
        DataError: the two cannot be compared: other kinds, metrics, records, inputs or settings.
        MissingError: a file is not there.
        UsageError: both are stdin.
    """
    if a == b == STDIO:
        raise UsageError("A and B are both stdin", hint="name one of them with a path")
    before, after = read_result(a), read_result(b)
    if isinstance(before, Earlier) and isinstance(after, Earlier):
        return _of_reports(before, after, config)
    if isinstance(before, Earlier) or isinstance(after, Earlier):
        raise DataError(
            f"{before.name} and {after.name}: a report and records",
            hint="compare two --json reports, or two --per-record files",
        )
    if config.max_increase:
        raise DataError(
            f"{before.name} and {after.name}: records, and --max-increase is of two --json reports",
            hint="leave it out: records are compared pair by pair",
        )
    return _of_records(before, after, config)


def _of_reports(a: Earlier, b: Earlier, config: DiffConfig) -> DiffReport:
    """Two figures, taken as independent."""
    before, after = a.headline, b.headline
    _refuse_options_of_records(f"{a.name} and {b.name}", config)
    if (before.name, before.better) != (after.name, after.better):
        raise DataError(
            f"{a.name} has {before.name}, {b.name} has {after.name}", hint="compare results of one command"
        )
    increases = find_increases((a.name, a.report), (b.name, b.report), config.max_increase)
    ignored = {TOKENS} if increases and {one.metric for one in increases} <= BY_BYTES else set()
    for one, other in ((b, a), (a, b)):
        work = {key: value for key, value in one.report.get("work", {}).items() if key not in ignored}
        check_same(work, other.report, other.name, one.name)
    noise, difference = noise_between(before, after, (a.share, b.share)), after.value - before.value
    if noise.p_value is None:
        note = "no difference counts, as their noise is not known; --max-increase KEY=SHARE sets a limit"
    else:
        note = "--per-record files of both compare record by record, which finds smaller differences"
    return DiffReport(
        a=a.name,
        b=b.name,
        metric=before.name,
        better=before.better,
        records=None,
        only_a=0,
        only_b=0,
        value_a=before.value,
        value_b=after.value,
        difference=difference,
        interval=noise.interval,
        p_value=noise.p_value,
        test=noise.test,
        table=None,
        worst=[],
        verdict=_verdict(difference, noise.p_value, before.better, config.alpha),
        increases=increases,
        headline=Headline(name="difference", value=difference, error=noise.error, better=before.better),
        notes=[note],
    )


def _refuse_options_of_records(where: str, config: DiffConfig) -> None:
    """Reports have one figure, which says itself which way is good; no records to leave out, or to draw."""
    given = {
        "--metric": config.metric is not None,
        "--lower-is-better": config.lower_is_better is True,
        "--higher-is-better": config.lower_is_better is False,
        "--common": config.common,
        "--seed": config.seed != DiffConfig.seed,
    }
    for flag, is_given in given.items():
        if is_given:
            raise DataError(
                f"{where}: reports, and {flag} is of two --per-record files",
                hint="leave it out; --max-increase KEY=SHARE sets a limit to any figure of reports",
            )


def _of_records(before: Records, after: Records, config: DiffConfig) -> DiffReport:
    metric = config.metric or _metric(before, after)
    lower = config.lower_is_better
    if lower is None:
        lower = any(word in metric for word in LOWER)
    better: Literal["higher", "lower"] = "lower" if lower else "higher"
    ours, theirs = by_name(before), by_name(after)
    common = [name for name in ours if name in theirs]
    only_a, only_b = [one for one in ours if one not in theirs], [one for one in theirs if one not in ours]
    if (only_a or only_b) and not config.common:
        where = before.name if only_a else after.name
        raise DataError(
            f"only {where} has record {some_of(only_a or only_b)}",
            hint="give both the same inputs, or compare what they have in common: --common",
        )
    for name in common:
        check_pair(name, ours[name][0], theirs[name][0], f"{before.name} and {after.name}")
    pairs = [
        (name, mean_metric(before, name, ours[name], metric), mean_metric(after, name, theirs[name], metric))
        for name in common
    ]
    known = [(name, float(x), float(y)) for name, x, y in pairs if x is not None and y is not None]
    if not known:
        raise DataError(
            f"{before.name} and {after.name} have no record in common", hint="are the ids the same?"
        )
    whole = [(x, y) for _, x, y in pairs if x is not None and y is not None]
    is_binary = all(isinstance(x, bool) and isinstance(y, bool) for x, y in whole)
    differences = [y - x for _, x, y in known]
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
    notes = _notes(len(pairs) - len(known), metric)
    unit = "records"
    if any(len(records) > 1 for side in (ours, theirs) for records in side.values()):
        unit = "tasks"
        notes.append("each task counts once, by the mean of its samples, which are not independent")
    method = f"paired bootstrap of {len(differences)} {unit}"
    interval = bootstrap_interval(differences, method, seed=config.seed)
    return DiffReport(
        a=before.name,
        b=after.name,
        metric=metric,
        better=better,
        records=len(known),
        only_a=len(only_a),
        only_b=len(only_b),
        value_a=mean_a,
        value_b=mean_b,
        difference=difference,
        interval=interval,
        p_value=p_value,
        test=test,
        table=table,
        worst=_worst(known, lower),
        verdict=_verdict(difference, p_value, better, config.alpha),
        headline=Headline(
            name="difference",
            value=difference,
            error=None if interval is None else (interval.high - interval.low) / 2 / Z95,
            better=better,
        ),
        notes=notes,
    )


def _notes(left_out: int, metric: str) -> list[str]:
    return [f"{left_out:,} records have no {metric} in one of the two"] if left_out else []


def _metric(before: Records, after: Records) -> str:
    for name in METRICS:
        if all(name in record for side in (before, after) for record in side.records):
            return name
    found = ", ".join(before.records[0])
    raise DataError(
        f"{before.name}: no {', '.join(METRICS)} in every record of both (found: {found})",
        hint="--metric KEY names another",
    )


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


def _verdict(difference: float, p_value: float | None, better: str, alpha: float) -> Verdict:
    if difference and p_value is None:
        return "not known"
    if p_value is None or p_value >= alpha or difference == 0:
        return "no difference"
    return "better" if (difference > 0) == (better == "higher") else "worse"
