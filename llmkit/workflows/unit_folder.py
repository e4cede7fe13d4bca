"""The folder of a job in units: `.OUT.partial` while units are missing, OUT when all of them are done.

A job of the same fingerprint goes on in it. One process holds it alone, or several hold it together, each
with a shard of the units; the last one that leaves finishes it.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from llmkit.errors import StoppedResumable, UsageError
from llmkit.formats.atomic import replace_folder, sync_file, sync_folder, write_atomic
from llmkit.formats.resumable import partial_path
from llmkit.workflows.units import Receipt, Unit, find_receipts

_KEY, _LOCK, _CLOSING = ".key", ".lock", ".closing"
_PATIENCE_SECONDS = 5.0
"""Longer than another shard takes to look at the folder's key or to finish it."""


@contextmanager
def unit_folder(out: Path, fingerprint: str, *, shared: bool = False) -> Iterator[Path]:
    """Yield the folder where units of the job leave their outputs; empty, or as a job like it left it.

    Args:
        out: its name when all is done; see `finish_units`.
        fingerprint: of the job. What another job has left under this name is removed.
        shared: other processes may be at work on other units of the same job.

    Raises:
        UsageError: another process is at work on it, alone or on another job.
        StoppedResumable: SIGTERM came while it was held.
    """
    partial = partial_path(out)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with _lock_of(partial) as lock:
            if _try_lock(lock, partial, fcntl.LOCK_EX):
                _prepare(partial, fingerprint)
                if shared:
                    fcntl.flock(lock, fcntl.LOCK_SH)
                with _stoppable(out):
                    yield partial
                return
            if shared and _try_lock(lock, partial, fcntl.LOCK_SH) and _key_of(partial) == fingerprint:
                with _stoppable(out):
                    yield partial
                return
        if time.monotonic() > deadline:
            raise UsageError(
                f"{out}: another process is making it", hint="wait for it, or choose another name with -o"
            )
        time.sleep(0.05)


def finish_units(
    out: Path, units: Sequence[Unit], fingerprint: str, close: Callable[[Path, list[Receipt]], None]
) -> list[Receipt] | None:
    """Make OUT of the folder when every unit is done; called after `unit_folder` was left.

    Args:
        out: replaced as a whole if it is there.
        units: all of the job, not of a shard.
        fingerprint: of the job.
        close: writes what belongs to the whole (`llmkit.json`) and removes what is no output of it. What is
            hidden is removed behind it.

    Returns:
        All receipts; None where units are missing, or another process is at work on them or finishing.
    """
    partial = partial_path(out)
    if not partial.exists():
        return None
    with _lock_of(partial) as lock:
        if not _try_lock(lock, partial, fcntl.LOCK_EX) or _key_of(partial) != fingerprint:
            return None
        found = find_receipts(units, partial, fingerprint)
        if len(found) < len(units):
            return None
        receipts = [found[unit.name] for unit in units]
        (partial / _CLOSING).touch()
        close(partial, receipts)
        for file in partial.rglob("*"):
            if file.is_file():
                sync_file(file)
        sync_folder(partial)
        replace_folder(partial, out)
        for hidden in list(out.rglob(".*")):  # last: without receipts all would be done again
            shutil.rmtree(hidden, ignore_errors=True) if hidden.is_dir() else hidden.unlink(missing_ok=True)
    return receipts


def is_closing(out: Path) -> bool:
    """Whether a process was killed inside `close`, whose files outside of the folder may be there then."""
    return (partial_path(out) / _CLOSING).exists()


@contextmanager
def _stoppable(out: Path) -> Iterator[None]:
    """Say that what is done is kept, however the work is stopped."""
    try:
        yield
    except SystemExit:
        raise StoppedResumable(
            f"{out}: stopped (SIGTERM); what is done is kept", hint="run the same line again to go on"
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same line goes on") from None


@contextmanager
def _lock_of(partial: Path) -> Iterator[IO[str]]:
    partial.mkdir(parents=True, exist_ok=True)
    with (partial / _LOCK).open("a") as lock:
        yield lock


def _try_lock(lock: IO[str], partial: Path, kind: int) -> bool:
    """Whether the lock is ours, and that of the folder as it is now: another process may have renamed it."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)  # goes with the process, however that ends
        return (partial / _LOCK).stat().st_ino == os.fstat(lock.fileno()).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _prepare(partial: Path, fingerprint: str) -> None:
    """Keep what a job with this fingerprint has left; remove anything else."""
    if _key_of(partial) == fingerprint:
        return
    for entry in partial.iterdir():
        if entry.name == _LOCK:
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    write_atomic(partial / _KEY, fingerprint.encode())


def _key_of(partial: Path) -> str | None:
    try:
        return (partial / _KEY).read_text()
    except FileNotFoundError:
        return None
