"""A signal that ends a run outside of training: mostly before it, as reading and packing take minutes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import StoppedResumable
from llmkit.machine import signal_name
from llmkit.signals import kept_interrupts
from llmkit.workflows.run.again import AGAIN, GOES_ON
from llmkit.workflows.run.ranks import STATUS


@contextmanager
def resumable(out: Path | None) -> Iterator[None]:
    """Turn a signal into a stop that can be resumed, where the run in `out` has a checkpoint.

    Without one the signal ends the process as it does elsewhere. This module loads next to nothing, so that
    it is there while others are imported.

    Args:
        out: None where no run is gone on with.

    Raises:
        StoppedResumable: SIGTERM, but in a process that `launch` started.
        KeyboardInterrupt: Ctrl-C; its text says that the run can be resumed.
    """
    try:
        with kept_interrupts():
            yield
    except SystemExit as stop:
        step = _last_step(out)
        if step is None or not isinstance(stop.code, int) or stop.code <= 128 or STATUS in os.environ:
            raise  # of processes that were launched, the launcher says it: it may end them to start them anew
        raise StoppedResumable(
            f"{out}: stopped ({signal_name(stop.code - 128)}); step {step:,} is saved",
            hint=AGAIN,
        ) from None
    except KeyboardInterrupt as stop:
        step = _last_step(out)
        if step is None or str(stop):  # training says it itself
            raise
        raise KeyboardInterrupt(f"with step {step:,} saved: {GOES_ON}") from None


def _last_step(out: Path | None) -> int | None:
    from llmkit.formats.checkpoint import list_checkpoints, step_of  # a signal may come while it is imported

    complete = [] if out is None else list_checkpoints(out)[0]
    return step_of(complete[-1]) if complete else None
