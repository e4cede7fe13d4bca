"""A grid of lengths and depths, what a model finds in each cell, and how long a context it really uses."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from llmkit.errors import UsageError


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One length and depth."""

    length: int
    depth: float | None
    """In percent; None: the task has no depth."""
    score: float
    """Percent: mean share of the answers that were found."""
    samples: int


class LengthScore(msgspec.Struct, frozen=True, kw_only=True):
    """One length, over all depths."""

    length: int
    score: float


class TaskGrid(msgspec.Struct, frozen=True, kw_only=True):
    """One task."""

    task: str
    cells: list[Cell]
    lengths: list[LengthScore]
    effective_length: int | None
    """See `effective_length`."""

    @property
    def depths(self) -> list[float | None]:
        """Of all cells, in order; of a task without depths the one that is None."""
        return sorted({cell.depth for cell in self.cells}, key=lambda depth: depth or 0.0)


def task_grid(task: str, scores: Iterable[tuple[int, float | None, float]], *, threshold: float) -> TaskGrid:
    """The grid of a task.

    Args:
        task: its name.
        scores: length, depth and score (0 to 1) of each sample.
        threshold: in percent.
    """
    found: dict[tuple[int, float | None], list[float]] = defaultdict(list)
    for length, depth, score in scores:
        found[length, depth].append(score)
    cells = [
        Cell(length=length, depth=depth, score=100 * sum(ones) / len(ones), samples=len(ones))
        for (length, depth), ones in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or 0.0))
    ]
    lengths = length_scores(cells)
    return TaskGrid(
        task=task,
        cells=cells,
        lengths=lengths,
        effective_length=effective_length({one.length: one.score for one in lengths}, threshold),
    )


def length_scores(cells: Sequence[Cell]) -> list[LengthScore]:
    """The mean of each length's cells."""
    found: dict[int, list[float]] = defaultdict(list)
    for cell in cells:
        found[cell.length].append(cell.score)
    return [LengthScore(length=one, score=sum(ones) / len(ones)) for one, ones in sorted(found.items())]


def effective_length(scores: Mapping[int, float], threshold: float) -> int | None:
    """The longest length with a mean of the threshold or more (RULER, section 4); None: no length has it."""
    return max((length for length, score in scores.items() if score >= threshold), default=None)


def default_lengths(context: int) -> tuple[int, ...]:
    """An eighth of the context, a quarter, a half, and all of it."""
    return tuple(sorted({max(1, context // part) for part in (8, 4, 2, 1)}))


def check_depths(depths: Sequence[float]) -> None:
    """Refuse depths that are none.

    Raises:
        UsageError: not between 0 and 100.
    """
    for depth in depths:
        if not 0 <= depth <= 100:
            raise UsageError(f"--depths: {depth:g} is not between 0 and 100", hint="--depths 0,25,50,75,100")
