"""Rows of a measurement beside a peer, and whether they are slower than an earlier report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from llmkit.errors import DataError
from llmkit.probe.environment import QUIET_SPREAD, Environment
from llmkit.probe.timing import Timing, median_ratio

OURS = "llmkit"
_SAME_WORK = {
    "shape_sha256": "a model of another shape",
    "tokenizer_sha256": "another tokenizer",
    "documents": "other text",
    "bytes": "other text",
}
"""What two reports must have in common, or lack both, and what is said where they do not."""


@dataclass(frozen=True)
class BenchRow:
    """One case: its speed, its spread, and its speed as a share of the peer's.

    None stands for what has no meaning for the bench, or where no peer ran.
    """

    name: str
    tokens_per_second: float
    bytes_per_second: float | None
    """Of text that is encoded, or of weights and cache that a step must read."""
    median_seconds: float
    spread: float
    """Half the interquartile range over the median."""
    cpu_seconds: float
    """Median processor time of a round, all threads."""
    ratio: float | None
    """Peer's wall time over this case's, median over rounds: 1 is the peer, above is faster."""
    cpu_ratio: float | None
    seconds: list[float] = field(default_factory=list)
    engine: str = OURS
    """Whose speed it is: llmkit's, or a peer's by its name."""
    case: dict[str, int | str] = field(default_factory=dict)
    """The point of the sweep: prompt, tokens, depth, batch_rows, seq_len, threads, dtype."""
    first_token_seconds: float | None = None
    """Until a prompt's first token is known (prefill)."""
    seconds_per_token: float | None = None
    """Between two tokens of one text (decode)."""
    flops: int | None = None
    """Floating-point operations of a round."""
    flops_per_second: float | None = None
    bytes_moved: int | None = None
    """Bytes of weights and cache that a round must read."""
    mbu: float | None = None
    """bytes_per_second over the measured bandwidth; above 1, what is read stays in the processor's cache."""
    mfu: float | None = None
    """flops_per_second over the measured peak."""
    memory_bytes: int | None = None
    """The most that the process held while this case ran, everything loaded for other cases included."""

    @property
    def is_peer(self) -> bool:
        """Whether it is another program's."""
        return self.engine != OURS


@dataclass(frozen=True)
class Ceiling:
    """What the machine was measured to do with some threads and a dtype, beside the cases."""

    threads: int
    dtype: str
    bytes_per_second: float
    bytes_source: str
    flops_per_second: float
    flops_source: str


@dataclass(frozen=True)
class BenchReport:
    """What was measured, on what, and on which machine."""

    bench: str
    work: dict[str, Any]
    environment: Environment
    noisy: str | None
    """Why the figures should not be trusted, or None."""
    rows: list[BenchRow]
    schema: str = "llmkit.bench/1"
    ceilings: list[Ceiling] = field(default_factory=list)
    """What MBU and MFU are shares of."""

    @property
    def own_names(self) -> list[str]:
        """Of llmkit's rows."""
        return [row.name for row in self.rows if not row.is_peer]


def bench_rows(timings: dict[str, Timing], *, peer: str, tokens: int, num_bytes: int) -> list[BenchRow]:
    """A row for each case, all of which did the same work."""
    return [
        BenchRow(
            name=name,
            tokens_per_second=tokens / timing.median_seconds,
            bytes_per_second=num_bytes / timing.median_seconds,
            engine=peer if name == peer else OURS,
            **measured(timing, timings[peer]),
        )
        for name, timing in timings.items()
    ]


def measured(timing: Timing, peer: Timing | None) -> dict[str, Any]:
    """The fields of a row that come from timings alone."""
    return {
        "median_seconds": timing.median_seconds,
        "spread": timing.spread,
        "cpu_seconds": median(timing.cpu_seconds),
        "ratio": None if peer is None else median_ratio(peer.seconds, timing.seconds),
        "cpu_ratio": None if peer is None else _cpu_ratio(peer, timing),
        "seconds": timing.seconds,
    }


def noise(environment: Environment, rows: list[BenchRow]) -> str | None:
    """Why these figures should not be trusted, or None where the machine was quiet and the rounds agree."""
    if not environment.quiet:
        return f"load average {environment.load_average:.1f} on {environment.cores} cores before the start"
    if any(len(row.seconds) == 1 for row in rows):
        return "a single round has no spread"
    worst = max(rows, key=lambda row: row.spread)
    if worst.spread > QUIET_SPREAD:
        return f"{worst.name} spreads by {worst.spread:.0%} from round to round"
    return None


def slower_rows(report: BenchReport, baseline: BenchReport, tolerance: float) -> list[str]:
    """llmkit's rows that are slower than the baseline, each as a sentence.

    Slower is a loss above `tolerance` that is also more than the two spreads together. Tokens per second are
    compared on the same processor with as many cores; on another one, ratios to the peer.

    Raises:
        DataError: the reports are of different benches or work, or have no case in common.
    """
    require_comparable(report.bench, report.work, report.own_names, baseline)
    there = baseline.environment
    same_machine = (report.environment.cpu, report.environment.cores) == (there.cpu, there.cores)
    before = {row.name: row for row in baseline.rows}
    sentences = []
    for row in report.rows:
        if row.is_peer or row.name not in before:
            continue
        old = before[row.name]
        now, then = (row.tokens_per_second, old.tokens_per_second) if same_machine else (row.ratio, old.ratio)
        if now is None or then is None:
            raise DataError(
                f"the baseline is of another processor ({there.cpu}, {there.cores} cores), where only ratios "
                f"to a peer compare, and {row.name} has none",
                hint="measure both with --against, or the baseline on this machine",
            )
        if then - now > tolerance * then and then - now > now * row.spread + then * old.spread:
            what = "tokens/s" if same_machine else "of the peer"
            sentences.append(f"{row.name}: {now:,.4g} {what}, was {then:,.4g} ({now / then - 1:+.0%})")
    return sentences


def missing_rows(names: Iterable[str], baseline: BenchReport) -> list[str]:
    """Names that no row of the baseline has, of which it says nothing."""
    known = {row.name for row in baseline.rows}
    return [name for name in names if name not in known]


def require_comparable(
    bench: str, work: Mapping[str, Any], names: Sequence[str], baseline: BenchReport
) -> None:
    """Refuse a baseline that says nothing of some cases.

    Args:
        bench: of the cases.
        work: of the cases, as the report will have it; of it, what `_SAME_WORK` names must be equal.
        names: of llmkit's rows.

    Raises:
        DataError: another bench, model, tokenizer or text, or no case in common.
    """
    hint = "compare with a report of the same command line"
    if bench != baseline.bench:
        raise DataError(f"this is a report of bench {baseline.bench}, not of bench {bench}", hint=hint)
    for key, what in _SAME_WORK.items():
        if work.get(key) != baseline.work.get(key):
            raise DataError(f"this report is of {what}", hint=hint)
    if len(missing_rows(names, baseline)) == len(names):
        raise DataError(f"this report has no case such as {names[0]}", hint=hint)


def _cpu_ratio(peer: Timing, timing: Timing) -> float | None:
    """None where a clock that ticks too seldom has seen no time pass."""
    if not all(timing.cpu_seconds):
        return None
    return median_ratio(peer.cpu_seconds, timing.cpu_seconds)
