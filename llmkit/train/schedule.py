"""The learning rate as a pure function of the step: a resumed run needs nothing but the number."""

import math
from collections.abc import Callable

from llmkit.train.config import Recipe, ScheduleName


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of update `step`, the first being 0.

    All schedules rise linearly over warmup_steps to `lr`. `cosine` then falls along half a cosine, `linear`
    in a straight line to lr * min_lr_ratio at the last step. `wsd` (warm-up, stable, decay; 2404.06395) stays
    at `lr` and falls linearly to that over the last decay_ratio of the steps. `inverse-sqrt` falls with the
    root of the step, whatever the length of the run (1706.03762, 5.3), above the same least rate. `constant`
    stays.
    """
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / (recipe.warmup_steps + 1)
    share = _SHARES[recipe.schedule](recipe, step)
    return recipe.lr * (recipe.min_lr_ratio + share * (1.0 - recipe.min_lr_ratio))


def _cosine(recipe: Recipe, step: int) -> float:
    """1 at the end of the warm-up, 0 at the end of the run."""
    length = max(1, recipe.steps - recipe.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - recipe.warmup_steps) / length)))


def _wsd(recipe: Recipe, step: int) -> float:
    """1 until the decay begins, then in a straight line to 0 at the end of the run."""
    length = min(recipe.steps - recipe.warmup_steps, math.ceil(recipe.decay_ratio * recipe.steps))
    return min(1.0, max(0.0, (recipe.steps - step) / max(1, length)))


def _linear(recipe: Recipe, step: int) -> float:
    """1 at the end of the warm-up, then in a straight line to 0 at the end of the run."""
    length = max(1, recipe.steps - recipe.warmup_steps)
    return max(0.0, min(1.0, (recipe.steps - step) / length))


def _inverse_sqrt(recipe: Recipe, step: int) -> float:
    """1 at the end of the warm-up, half of that after four times as many steps."""
    scale = recipe.warmup_steps or _INVERSE_SQRT_STEPS
    return math.sqrt(scale / (step - recipe.warmup_steps + scale))


_INVERSE_SQRT_STEPS = 10_000  # what stands for the warm-up where there is none, as in transformers
_SHARES: dict[ScheduleName, Callable[[Recipe, int], float]] = {
    "cosine": _cosine,
    "wsd": _wsd,
    "linear": _linear,
    "inverse-sqrt": _inverse_sqrt,
    "constant": lambda recipe, step: 1.0,
}
