"""A path for one process at a time: a lock on the file that is there, which goes with the process.

The system locks a file, not its name. Who held the lock may have removed or renamed the file between its
opening and its locking here; such a lock keeps nobody out, as others open what is at the path now. So that is
opened anew. Who holds a lock may remove or rename its file, after all that it guards.
"""

import fcntl
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

LOCK = ".lock"
"""The file in a folder that stands for the folder."""


def open_locked(path: Path, *, shared: bool = False) -> BinaryIO | None:
    """Open a file to write behind what is in it, locked; it is made where there is none.

    Args:
        path: of the file.
        shared: others may hold it too, as long as all of them share it.

    Returns:
        The file, whose closing ends the lock; None where another process holds it.

    Raises:
        FileNotFoundError: there is no folder for it.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("ab"))
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            if is_at(path, file):
                stack.pop_all()
                return file


def lock_folder(folder: Path, *, shared: bool = False) -> BinaryIO | None:
    """The same for a folder, by the file LOCK in it; it is made where there is none."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # who held it has removed or renamed it since
            return open_locked(folder / LOCK, shared=shared)


def is_at(path: Path, file: BinaryIO) -> bool:
    """Whether an open file is the one that is at a path now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except (FileNotFoundError, NotADirectoryError):
        return False
