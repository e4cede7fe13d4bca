"""llmkit eval diff: two results of one evaluation, and whether the second is worse beyond noise."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from llmkit.errors import DataError, UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.streams import STDIO
from llmkit.probe.evaluate.compare import ENUMERATED, ROUNDS, mcnemar, sign_flip
from llmkit.probe.evaluate.config import DiffConfig
from llmkit.probe.evaluate.headline import Z95, Headline
from llmkit.probe.evaluate.intervals import Interval, bootstrap_interval
from llmkit.probe.evaluate.noise import noise_between
from llmkit.workflows.eval.diff_input import Pairs, Records, pair_records, read_result
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
    """Two results record by record, or task by task."""
    metric = config.metric or _metric(before, after)
    lower = config.lower_is_better
    if lower is None:
        lower = any(word in metric for word in LOWER)
    better: Literal["higher", "lower"] = "lower" if lower else "higher"
    pairs = pair_records(before, after, metric, common=config.common)
    known = pairs.known
    differences = [y - x for _, x, y in known]
    difference = math.fsum(differences) / len(known)
    table = _table(known) if pairs.are_binary else None
    p_value, test = _test(differences, table, config.seed)
    method = f"paired bootstrap of {len(known)} {'tasks' if pairs.have_samples else 'records'}"
    interval = bootstrap_interval(differences, method, seed=config.seed)
    return DiffReport(
        a=before.name,
        b=after.name,
        metric=metric,
        better=better,
        records=len(known),
        only_a=pairs.only_a,
        only_b=pairs.only_b,
        value_a=math.fsum(x for _, x, _ in known) / len(known),
        value_b=math.fsum(y for _, _, y in known) / len(known),
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
        notes=_notes(pairs, metric),
    )


def _test(differences: Sequence[float], table: ChangeTable | None, seed: int) -> tuple[float, str]:
    """The p-value of differences, and what test it is of."""
    if table is not None:
        return mcnemar(table.lost, table.won), "McNemar's, exact"
    changed = sum(one != 0 for one in differences)
    flips = "all of them" if changed <= ENUMERATED else f"{ROUNDS:,} at random"
    return sign_flip(differences, seed=seed), f"sign flips, {flips}"


def _notes(pairs: Pairs, metric: str) -> list[str]:
    notes = (
        [f"{plural(pairs.left_out, 'record')} without {metric} in one of the two"] if pairs.left_out else []
    )
    if pairs.have_samples:
        notes.append("each task counts once, by the mean of its samples, which are not independent")
    return notes


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
