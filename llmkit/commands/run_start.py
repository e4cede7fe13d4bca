"""How a training command begins: to be stopped from its first moment on, and with one process that speaks."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

TRIALS = ("dry_run", "overfit_batch", "find_lr")
"""Flags with which no run is written, and none goes on."""


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """A training command that can be stopped while torch is imported and data is read: see `resumable`.

    Args:
        command: takes `out` and `resume`, and may take `dry_run`, `overfit_batch` and `find_lr`.
    """

    @wraps(command)
    def started(*, out: Path, resume: str, **given: Any) -> None:
        from llmkit.workflows.run.again import over_again
        from llmkit.workflows.run.early_stop import resumable
        from llmkit.workflows.run.ranks import first_speaks, was_restarted

        goes_on = resume != "never" or was_restarted()
        is_trial = any(given.get(name) for name in TRIALS)
        with (
            first_speaks(),
            over_again(resume == "never"),
            resumable(out if goes_on and not is_trial else None),
        ):
            command(out=out, resume=resume, **given)

    return started
