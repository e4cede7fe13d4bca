"""How much each source gives to a mixture, in any unit that documents have a size in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Exhaust = Literal["stop", "drop", "repeat"]
NEARLY = 1e-9  # of an amount: what floating point may have left over


@dataclass(frozen=True)
class Supply:
    """What one source has to give.

    weight: its share before all weights are made to sum to 1; above 0.
    size: all of its documents together, above 0.
    epochs: how often it may be gone through; None: once, or without end where sources are repeated.
    """

    weight: float
    size: int
    epochs: float | None = None


@dataclass(frozen=True)
class Allotment:
    """What one source gives.

    wanted: what its weight asks of it.
    amount: what it is to give; less where it has run dry, more where it makes up for another.
    is_dry: whether it has not got what is wanted.
    """

    wanted: float
    amount: float
    is_dry: bool


def shares_of(weights: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Weights as shares of 1, each taken to the power of 1 / temperature: above 1 small ones gain.

    A temperature near 0 leaves nothing to any but the largest.
    """
    largest = max(weights)
    raised = [(weight / largest) ** (1 / temperature) for weight in weights]
    return [one / sum(raised) for one in raised]


def allot(sources: Sequence[Supply], total: float | None, on_exhaust: Exhaust) -> list[Allotment]:
    """How much each source gives.

    Args:
        sources: weights of any sum.
        total: of the mixture; None: what can be had before the first runs dry (stop), everything (drop), or
            what it takes until each has been gone through once (repeat).
        on_exhaust: what happens when a source has been gone through as often as it may: the mixture ends in
            its proportions (stop), or the others give more in theirs (drop). With `repeat` a source without a
            limit of its own starts again; one with a limit is then left out.
    """
    shares = shares_of([source.weight for source in sources])
    once = float("inf") if on_exhaust == "repeat" else 1.0
    most = [source.size * (once if source.epochs is None else source.epochs) for source in sources]
    reach = min(have / share for have, share in zip(most, shares, strict=True) if share)
    if total is None:
        match on_exhaust:
            case "stop":
                total = reach
            case "drop":
                total = sum(most)
            case "repeat":
                total = max(one.size / share for one, share in zip(sources, shares, strict=True) if share)
    wanted = [share * total for share in shares]
    if on_exhaust == "stop":
        amounts = [share * min(total, reach) for share in shares]
    else:
        amounts = _make_up(shares, most, total)
    return [
        Allotment(want, min(amount, have), want > have * (1 + NEARLY))
        for want, amount, have in zip(wanted, amounts, most, strict=True)
    ]


def _make_up(shares: Sequence[float], most: Sequence[float], total: float) -> list[float]:
    """Amounts in the proportion of the shares, but none above its most: what is missing the others give."""
    amounts = [0.0] * len(shares)
    active = set(range(len(shares)))
    left = total
    while active:
        together = sum(shares[one] for one in active)
        dry = {one for one in active if shares[one] / together * left > most[one]}
        for one in dry or active:
            amounts[one] = most[one] if dry else shares[one] / together * left
        if not dry:
            break
        left -= sum(most[one] for one in dry)
        active -= dry
    return amounts
