"""Rows of a measurement beside a peer, and whether they are slower than an earlier report."""

from dataclasses import dataclass, field
from typing import Any

from llmkit.probe.environment import QUIET_SPREAD, Environment
from llmkit.probe.timing import Timing, median_ratio


@dataclass(frozen=True)
class BenchRow:
    """One case: its speed, its spread, and its speed as a share of the peer's."""

    name: str
    tokens_per_second: float
    bytes_per_second: float
    median_seconds: float
    spread: float
    """Half the interquartile range over the median."""
    cpu_seconds: float
    """Median processor time of a round, all threads."""
    ratio: float
    """Peer's wall time over this case's, median over rounds: 1 is the peer, above is faster."""
    cpu_ratio: float
    seconds: list[float] = field(default_factory=list)


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


def bench_rows(timings: dict[str, Timing], *, peer: str, tokens: int, num_bytes: int) -> list[BenchRow]:
    """A row for each case, all of which did the same work."""
    from statistics import median

    reference = timings[peer]
    return [
        BenchRow(
            name=name,
            tokens_per_second=tokens / timing.median_seconds,
            bytes_per_second=num_bytes / timing.median_seconds,
            median_seconds=timing.median_seconds,
            spread=timing.spread,
            cpu_seconds=median(timing.cpu_seconds),
            ratio=median_ratio(reference.seconds, timing.seconds),
            cpu_ratio=median_ratio(reference.cpu_seconds, timing.cpu_seconds),
            seconds=timing.seconds,
        )
        for name, timing in timings.items()
    ]


def noise(environment: Environment, rows: list[BenchRow]) -> str | None:
    """Why these figures should not be trusted, or None where the machine was quiet and the rounds agree."""
    if not environment.quiet:
        return f"load average {environment.load_average:.1f} on {environment.cores} cores before the start"
    worst = max(rows, key=lambda row: row.spread)
    if worst.spread > QUIET_SPREAD:
        return f"{worst.name} spreads by {worst.spread:.0%} from round to round"
    return None


def slower_rows(report: BenchReport, baseline: BenchReport, tolerance: float) -> list[str]:
    """Rows slower than the baseline by more than `tolerance` and their own spread, each as a sentence.

    Tokens per second are compared on the same processor; on another one, ratios to the peer.
    """
    same_machine = report.environment.cpu == baseline.environment.cpu
    before = {row.name: row for row in baseline.rows}
    sentences = []
    for row in report.rows:
        if row.name not in before:
            continue
        old = before[row.name]
        now, then = (row.tokens_per_second, old.tokens_per_second) if same_machine else (row.ratio, old.ratio)
        if now * (1 + row.spread) < then * (1 - tolerance):
            what = "tokens/s" if same_machine else "of the peer"
            sentences.append(f"{row.name}: {now:,.4g} {what}, was {then:,.4g} ({now / then - 1:+.0%})")
    return sentences
