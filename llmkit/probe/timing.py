"""Timing that can be trusted on a shared machine: cases take turns, and medians and spreads are kept.

Turns matter more than repetitions: when another job slows the machine for a while, it slows every case alike,
and the ratio of two cases in the same round holds where their seconds do not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass(frozen=True)
class Timing:
    """Wall and processor seconds of each round; processor seconds count all threads of this process."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    @property
    def median_seconds(self) -> float:
        """Median wall time of a round."""
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median; 0 for a single round."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / self.median_seconds


@dataclass(frozen=True)
class Clocked:
    """What a case gives back that has a clock of its own: another program, whose start is no part of it."""

    seconds: float
    cpu_seconds: float


def take_turns(
    cases: dict[str, Callable[[], object]],
    rounds: int,
    *,
    before: Callable[[str], None] | None = None,
    after: Callable[[str], None] | None = None,
    after_round: Callable[[int], None] | None = None,
) -> dict[str, Timing]:
    """Run every case once a round, in an order that alternates, after one round that is not counted.

    A case's result is dropped outside its time. What `after_round` does may slow whoever comes next, so the
    first case named opens the first counted round: of an odd number, it bears that once more than the last.

    Args:
        before, after: called with a case's name around each of its runs, outside its time.
        after_round: called with the number of rounds that were counted.
    """
    timings = {name: Timing() for name in cases}
    order = list(reversed(cases))
    for number in range(rounds + 1):
        for name in order:
            if before is not None:
                before(name)
            clocked = _run(cases[name])
            if number:
                timings[name].seconds.append(clocked.seconds)
                timings[name].cpu_seconds.append(clocked.cpu_seconds)
            if after is not None:
                after(name)
        order.reverse()
        if after_round is not None:
            after_round(number)
    return timings


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median over rounds of one case's time over another's in the same round."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def _run(case: Callable[[], object]) -> Clocked:
    wall, cpu = time.perf_counter(), time.process_time()
    result = case()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return result if isinstance(result, Clocked) else Clocked(wall, cpu)
