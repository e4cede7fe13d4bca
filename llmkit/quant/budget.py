"""Which grid each matrix gets so that a model of a given size loses least: a knapsack.

Each unit takes one of its choices; bytes add up, and so do losses, as they nearly do while they are small
(measured KL divergences of one unit at a time). Sizes are whole bytes, so dynamic programming over the bytes
beyond the least gives the best there is: exactly where all sizes are multiples of something, as those of
matrices are, else up to a 65536th of the budget for each unit, which is then spent step by step.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from llmkit.errors import UsageError, some_of

_STEPS = 1 << 16


class Choice(msgspec.Struct, frozen=True):
    """A grid for a unit."""

    grid: str
    nbytes: int
    """In the file, with whatever stands beside the codes."""
    loss: float
    """What rounding this unit alone costs, as KL divergence."""


class Allotment(msgspec.Struct, frozen=True, kw_only=True):
    """One choice for each unit."""

    chosen: dict[str, Choice]
    """By unit; losses as repaired."""
    nbytes: int
    loss: float
    """Sum of the units'."""
    repaired: tuple[str, ...]
    """Units with a measured loss that grew with size: such losses were levelled (isotonic regression)."""


def allot(units: Mapping[str, Sequence[Choice]], nbytes: int) -> Allotment:
    """The choices that lose least within a number of bytes.

    Of choices of one size the one that loses least is looked at. What is left over goes to units that lose
    nothing measurable by it, as more bits are never worse.

    Args:
        units: what each may take, in any order.
        nbytes: in all.

    Raises:
        UsageError: even the least of every unit does not fit; or a unit has no choice.
    """
    bare = [name for name, choices in units.items() if not choices]
    if bare:
        raise UsageError(f"no grid fits {some_of(bare)}", hint="offer one whose blocks divide the rows")
    names = list(units)
    measured = [_by_size(units[name]) for name in names]
    options = [_levelled(choices) for choices in measured]
    least = sum(choices[0].nbytes for choices in options)
    if least > nbytes:
        raise UsageError(
            f"{nbytes} bytes are too few: the smallest grids take {least}",
            hint="allow more bytes, or offer grids of fewer bits",
        )
    places = _top_up(options, _best(options, nbytes - least), nbytes)
    chosen = {name: choices[at] for name, choices, at in zip(names, options, places, strict=True)}
    return Allotment(
        chosen=chosen,
        nbytes=sum(choice.nbytes for choice in chosen.values()),
        loss=math.fsum(choice.loss for choice in chosen.values()),
        repaired=tuple(
            name for name, was, now in zip(names, measured, options, strict=True) if list(was) != list(now)
        ),
    )


def _by_size(choices: Sequence[Choice]) -> list[Choice]:
    """Smallest first; of one size the one that loses least."""
    best: dict[int, Choice] = {}
    for choice in choices:
        if choice.nbytes not in best or choice.loss < best[choice.nbytes].loss:
            best[choice.nbytes] = choice
    return [best[nbytes] for nbytes in sorted(best)]


def _levelled(choices: Sequence[Choice]) -> list[Choice]:
    """Losses that do not grow with size: neighbours in the wrong order get their mean."""
    pools: list[list[float]] = []  # sum and count of each run of equal losses
    for choice in choices:
        pools.append([choice.loss, 1.0])
        while len(pools) > 1 and pools[-1][0] * pools[-2][1] > pools[-2][0] * pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
    losses = [total / count for total, count in pools for _ in range(int(count))]
    return [Choice(choice.grid, choice.nbytes, loss) for choice, loss in zip(choices, losses, strict=True)]


def _best(options: Sequence[Sequence[Choice]], spare: int) -> list[int]:
    """The choice of each unit that dynamic programming finds, for bytes beyond the least of each."""
    extras = [[choice.nbytes - choices[0].nbytes for choice in choices] for choices in options]
    common = math.gcd(*(extra for each in extras for extra in each))
    if common == 0:  # one choice each
        return [0] * len(options)
    spare = min(spare, sum(each[-1] for each in extras))
    step = common * max(1, -(-spare // (common * _STEPS)))
    room = spare // step
    losses = np.zeros(room + 1)  # of the units so far, by the steps they may take
    taken = np.zeros((len(options), room + 1), np.uint8)
    for unit, (choices, each) in enumerate(zip(options, extras, strict=True)):
        found = np.full(room + 1, np.inf)
        for at, (choice, extra) in enumerate(zip(choices, each, strict=True)):
            steps = -(-extra // step)
            if steps > room:
                break
            sums = losses[: room + 1 - steps] + choice.loss
            better = sums <= found[steps:]  # the larger one, where two are alike
            found[steps:][better] = sums[better]
            taken[unit, steps:][better] = at
        losses = found
    places, left = [], room
    for unit in reversed(range(len(options))):
        at = int(taken[unit, left])
        places.append(at)
        left -= -(-extras[unit][at] // step)
    return places[::-1]


def _top_up(options: Sequence[Sequence[Choice]], places: list[int], nbytes: int) -> list[int]:
    """Spend what is left: the change that saves most a byte, while one fits."""
    places = list(places)
    left = nbytes - sum(choices[at].nbytes for choices, at in zip(options, places, strict=True))
    while True:
        changes = [
            ((choices[at].loss - larger.loss) / (larger.nbytes - choices[at].nbytes), larger.nbytes, unit, to)
            for unit, (choices, at) in enumerate(zip(options, places, strict=True))
            for to, larger in enumerate(choices[at + 1 :], at + 1)
            if larger.nbytes - choices[at].nbytes <= left
        ]
        if not changes:
            return places
        _, _, unit, to = max(changes)
        left -= options[unit][to].nbytes - options[unit][places[unit]].nbytes
        places[unit] = to
