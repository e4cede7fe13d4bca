"""Whether a run goes on with some settings: with those it had, or for more steps at the rates it had."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.formats.checkpoint import CheckpointState
from llmkit.train.config import Recipe
from llmkit.train.schedule import learning_rate

Different = dict[str, tuple[Any, Any]]
_LENGTH = {"steps", "warmup_steps"}


def check_same_run(out: Path, recipe: Recipe, state: CheckpointState) -> None:
    """Refuse to go on from a checkpoint with other settings.

    Another number of steps is no other setting where all updates so far had the rates that they have in a run
    of that length: then its weights are those of a run that was to have it from the beginning.

    Args:
        out: of the run.
        recipe: to go on with.
        state: of the checkpoint.

    Raises:
        UsageError: it has other settings.
    """
    different = recipe.differences(state.recipe)
    hint = "give its settings again, choose another name with -o, or start over with --resume never --force"
    if "steps" in different and different.keys() <= _LENGTH:
        warmup_steps = different.get("warmup_steps", (recipe.warmup_steps,))[0]
        if had_rates(
            replace(recipe, warmup_steps=warmup_steps), different["steps"][0], state.trainer["step"]
        ):
            if "warmup_steps" not in different:
                return
            hint = f"--warmup-steps {warmup_steps}: with it the run goes on to step {recipe.steps}"
        else:
            hint = (
                f"give its steps again; to train longer, train its model on in a new run "
                f"(pretrain -m {out}, finetune {out}, with another -o)"
            )
    if different:
        raise UsageError(f"{out}: the run there has other settings ({_describe(different)})", hint=hint)


def had_rates(recipe: Recipe, steps: int, done: int) -> bool:
    """Whether `done` updates of a run of so many `steps` had the learning rates that `recipe` gives them."""
    past = replace(recipe, steps=steps)
    return done <= recipe.steps and all(
        learning_rate(past, step) == learning_rate(recipe, step) for step in range(done)
    )


def _describe(different: Different) -> str:
    shown = [f"{name} {_short(old)} there, {_short(new)} here" for name, (old, new) in different.items()]
    more = f"; and {len(shown) - 4} more" if len(shown) > 4 else ""
    return "; ".join(shown[:4]) + more


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
