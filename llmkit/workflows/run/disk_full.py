"""A disk that has no room left for a run: what could not be written, and what is saved."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import DISK_FULL, ResourceError, room_hint
from llmkit.formats.checkpoint import list_checkpoints, step_of
from llmkit.workflows.run.again import GOES_ON


class DiskFullError(ResourceError):
    """The disk is full, or a quota or a limit is reached."""


@contextmanager
def full_disk_told(out: Path, what: Path | None = None) -> Iterator[None]:
    """Turn the error of a full disk into one that says which step is saved.

    Args:
        out: folder of the run.
        what: the file that is being written; None: the one that the system names.

    Raises:
        DiskFullError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        complete = list_checkpoints(out)[0]
        kept = "nothing is saved yet, and the same line starts again"
        if complete:
            kept = f"step {step_of(complete[-1]):,} is saved, and {GOES_ON}"
        raise DiskFullError(
            f"{what or error.filename or out}: {os.strerror(error.errno).lower()}",
            hint=f"{room_hint(error.errno)}; {kept}",
        ) from None
