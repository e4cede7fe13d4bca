"""What the evaluations of a run take, for its plan."""

from dataclasses import dataclass

from llmkit.workflows.run.setup import Setup


@dataclass(frozen=True)
class Evaluations:
    """All evaluations of a run together."""

    count: int = 0
    rows: int = 0
    """Scored in each evaluation."""
    seconds: float = 0.0


def plan_evaluations(
    setup: Setup,
    held_out: int,
    limit: int | None,
    *,
    step_seconds: float,
    share: float,
    from_the_start: bool = False,
) -> Evaluations:
    """How often a run is scored, its end included, and for how long.

    Args:
        setup: of the run.
        held_out: rows of the validation data; 0 where there are none.
        limit: rows to score of them; None: all.
        step_seconds: of an update.
        share: of the work of an update on as many rows.
        from_the_start: whether the model is scored before its first update.
    """
    if not held_out:
        return Evaluations()
    count = -(-setup.recipe.steps // setup.eval_every) + from_the_start
    rows = min(held_out, limit or held_out)
    return Evaluations(count, rows, count * rows / setup.recipe.batch_rows * step_seconds * share)
