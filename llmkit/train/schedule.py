"""The learning rate as a pure function of the step: a resumed run needs nothing but the number."""

import math

from llmkit.train.config import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of update `step`, the first being 0.

    Both schedules rise linearly over warmup_steps to `lr`. `cosine` then falls along half a cosine to
    lr * min_lr_ratio at the last step. `wsd` (warm-up, stable, decay; 2404.06395) stays at `lr` and falls
    linearly to that over the last decay_ratio of the steps.
    """
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / (recipe.warmup_steps + 1)
    share = _cosine(recipe, step) if recipe.schedule == "cosine" else _wsd(recipe, step)
    return recipe.lr * (recipe.min_lr_ratio + share * (1.0 - recipe.min_lr_ratio))


def _cosine(recipe: Recipe, step: int) -> float:
    """1 at the end of the warm-up, 0 at the end of the run."""
    length = max(1, recipe.steps - recipe.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - recipe.warmup_steps) / length)))


def _wsd(recipe: Recipe, step: int) -> float:
    """1 until the decay begins, then in a straight line to 0 at the end of the run."""
    length = min(recipe.steps - recipe.warmup_steps, math.ceil(recipe.decay_ratio * recipe.steps))
    return min(1.0, max(0.0, (recipe.steps - step) / max(1, length)))
