"""A run folder for one process alone, which looks again before it writes: somebody may remove the folder.

The lock is of the file, not of its name: a run whose folder was removed still holds it, and keeps nobody out
of a folder that is made anew at the same path.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from llmkit.errors import ResourceError, UsageError
from llmkit.formats.lock import LOCK, is_at, lock_folder
from llmkit.workflows.run.folder import CACHE, check_folder, restore_aside


class FolderLostError(ResourceError):
    """The folder of a run is not there any more, or is another's."""


class Claim:
    """A run folder, as long as it is this process's.

    Args:
        out: the folder.
        lock: open and locked, the file LOCK in it.
    """

    def __init__(self, out: Path, lock: BinaryIO) -> None:
        self._out = out
        self._lock = lock

    @property
    def holds(self) -> bool:
        """Whether the folder at the path is the one that was locked."""
        return is_at(self._out / LOCK, self._lock)

    def check(self) -> None:
        """Refuse to write where the folder is another.

        Raises:
            FolderLostError: it was removed or replaced.
        """
        if not self.holds:
            raise FolderLostError(
                f"{self._out}: the run's folder was removed or replaced (its {LOCK} is not this run's)",
                hint="where it was moved to, -o goes on with it; else the same line starts again",
            )


@contextmanager
def locked(out: Path) -> Iterator[Claim]:
    """Keep other processes out of a run folder. A folder that stays empty is removed again.

    Raises:
        UsageError: another process is at work in it.
    """
    existed = out.is_dir()
    lock = lock_folder(out)
    if lock is None:
        raise UsageError(
            f"{out}: another process is training in it",
            hint="wait for it, or choose another name with -o",
        )
    with lock:
        claim = Claim(out, lock)
        try:
            yield claim
        finally:
            if claim.holds:
                if not existed:
                    with suppress(OSError):  # there is something in it
                        (out / CACHE).rmdir()
                (out / LOCK).unlink(missing_ok=True)  # from here on others may work in the folder
                if not existed:
                    with suppress(OSError):
                        out.rmdir()


@contextmanager
def claimed(out: Path, inputs: Sequence[Path]) -> Iterator[Claim]:
    """A folder that a run may write, for this process alone; a run whose replacement failed is back in it.

    Raises:
        UsageError: as `check_folder` and `locked`.
    """
    check_folder(out, inputs)
    with locked(out) as claim:
        restore_aside(out)
        yield claim
