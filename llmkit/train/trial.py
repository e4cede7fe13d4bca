"""Short trainings that are thrown away: can one batch be learnt by heart, what rate does the loss stand?"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llmkit.train.config import Recipe
from llmkit.train.data import RowSource
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import BatchSource
from llmkit.train.order import RowOrder
from llmkit.train.trainer import StepResult, Trainer

UPDATES = 100
LOWEST_RATE, HIGHEST_RATE = 1e-6, 1.0
_KEPT = 0.9  # of the mean of the losses so far, at each further one
_WORSE = 1.1  # times the first loss: here a rate is too high for good


class SameBatch(BatchSource):
    """The batch of the first update again and again."""

    def __init__(self, rows: RowSource, recipe: Recipe, device: torch.device) -> None:
        first = rows.read(RowOrder(len(rows), recipe.seed).take(0, recipe.batch_rows))
        self._batch = build_batch(first, document_mask=recipe.document_mask, device=device)

    def batch(self, step: int) -> Batch:
        """The first, whatever the step."""
        del step
        return self._batch


@dataclass(frozen=True)
class RatePoint:
    """An update of a range test."""

    lr: float
    loss: float
    """Of its batch, before the update."""
    smoothed: float
    """Mean of the losses so far, the last ones weighing most."""


def flat_rate(recipe: Recipe, step: int) -> float:
    """The recipe's peak after a tenth of UPDATES."""
    return recipe.lr * min(1.0, (step + 1) / (UPDATES // 10))


def rising_rate(recipe: Recipe, step: int) -> float:
    """From LOWEST_RATE to HIGHEST_RATE in UPDATES equal factors (1506.01186, on a logarithmic scale)."""
    del recipe
    return float(LOWEST_RATE * (HIGHEST_RATE / LOWEST_RATE) ** (step / (UPDATES - 1)))


def run_updates(trainer: Trainer) -> Iterator[StepResult]:
    """UPDATES updates; ends early at a loss that is not finite, which is not given."""
    for _ in range(UPDATES):
        result = trainer.train_step()
        if result.skipped == "nonfinite":
            return
        yield result


def range_test(results: Iterator[StepResult]) -> Iterator[RatePoint]:
    """The points of a range test; ends where the smoothed loss is a tenth above the first."""
    mean = first = 0.0
    for number, result in enumerate(results, 1):
        mean = _KEPT * mean + (1 - _KEPT) * result.loss
        smoothed = mean / (1 - _KEPT**number)
        first = first or smoothed
        yield RatePoint(result.lr, result.loss, smoothed)
        if smoothed > _WORSE * first:
            return


def lowest_point(points: Sequence[RatePoint]) -> RatePoint:
    """Where the smoothed loss is least."""
    return min(points, key=lambda point: point.smoothed)


def steepest_point(points: Sequence[RatePoint]) -> RatePoint | None:
    """Where the smoothed loss falls fastest by the logarithm of the rate; None where it never falls."""
    falling = points[: points.index(lowest_point(points)) + 1]
    if len(falling) < 3:
        return None
    slopes = np.gradient([one.smoothed for one in falling], [math.log(one.lr) for one in falling])
    steepest = int(np.argmin(slopes))
    return falling[steepest] if slopes[steepest] < 0 else None
