"""A folder made in parts: whole or absent under its name, and its parts found again when interrupted.

`.OUT.partial/` stands beside OUT while it is made, with the key of the job in it. A job with the same key
goes on in it; another job starts afresh.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmkit.errors import StoppedResumable, UsageError
from llmkit.formats.atomic import replace_folder, sync_tree, write_atomic
from llmkit.formats.lock import LOCK, lock_folder, open_locked
from llmkit.formats.output_place import linked

_KEY = ".key"


def partial_path(path: Path) -> Path:
    """Where the parts of `path` are kept: beside it, or beside what it is a link to."""
    path = linked(path)
    return path.parent / f".{path.name}.partial"


@contextmanager
def kept_parts(path: Path, key: str) -> Iterator[Path]:
    """Yield the folder of the parts of `path`, empty or as an interrupted job with the same key left it.

    It stays as it is behind the `with`: see `forget_partial`.

    Raises:
        UsageError: another process is at work on it.
    """
    partial = partial_path(path)
    lock = lock_folder(partial)
    if lock is None:
        raise UsageError(
            f"{path}: another process is making it", hint="wait for it, or choose another name with -o"
        )
    with lock:
        if not (partial / _KEY).exists() or (partial / _KEY).read_text() != key:
            empty_folder(partial)
            write_atomic(partial / _KEY, key.encode())
        yield partial


@contextmanager
def resumable_folder(path: Path, key: str) -> Iterator[Path]:
    """The same, and the folder becomes `path` at the end.

    An existing folder at `path` is replaced as a whole, and only then. An error leaves the parts.

    Raises:
        UsageError: another process is at work on it.
    """
    with kept_parts(path, key) as partial:
        yield partial
        sync_tree(partial)
        replace_folder(partial, path)
        for name in (_KEY, LOCK):  # last: a folder without them is one that others may empty
            (path / name).unlink(missing_ok=True)


@contextmanager
def stoppable(out: Path) -> Iterator[None]:
    """Say that what is done of `out` is kept, however the work is stopped.

    Raises:
        StoppedResumable: by SIGTERM.
        KeyboardInterrupt: by Ctrl-C, in words.
    """
    try:
        yield
    except SystemExit:
        raise StoppedResumable(
            f"{out}: stopped (SIGTERM); what is done is kept", hint="run the same line again to go on"
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt("with what is done kept: the same line goes on") from None


def forget_partial(path: Path) -> None:
    """Remove what an interrupted job left of `path`; what a process is at work on stays."""
    partial = partial_path(path)
    with suppress(OSError):  # there is none, it is not ours, or another process has come to begin in it
        lock = open_locked(partial / LOCK)
        if lock is None:
            return
        with lock:
            empty_folder(partial)
            (partial / LOCK).unlink()
            partial.rmdir()


def empty_folder(folder: Path) -> None:
    """Remove all that is in a folder but the lock on it."""
    for entry in folder.iterdir():
        if entry.name == LOCK:
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
