"""The folder of a job in units: `.OUT.partial` while units are missing, OUT when all of them are done.

A job of the same fingerprint goes on in it. One process holds it alone, or several hold it together, each
with a shard of the units; the last one that leaves finishes it.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.formats.atomic import replace_folder, sync_tree, write_atomic
from llmkit.formats.lock import LOCK, lock_folder, open_locked
from llmkit.formats.resumable import empty_folder, partial_path, stoppable
from llmkit.workflows.units import Receipt, Unit, find_receipts

_KEY, _CLOSING = ".key", ".closing"
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
        if (alone := lock_folder(partial)) is not None:
            with alone:
                _prepare(partial, fingerprint)
                if not shared:
                    with stoppable(out):
                        yield partial
                    return
        # Nobody holds a lock while it turns into a shared one: another job may have come between.
        if shared and (together := lock_folder(partial, shared=True)) is not None:
            with together:
                if _key_of(partial) == fingerprint:
                    with stoppable(out):
                        yield partial
                    return
        if time.monotonic() > deadline:
            raise UsageError(
                f"{out}: another process is making it", hint="wait for it, or choose another name with -o"
            )
        time.sleep(0.05)


def finish_units(
    out: Path,
    units: Sequence[Unit],
    fingerprint: str,
    close: Callable[[Path], None],
    *,
    beside: Iterable[Path | None] = (),
) -> list[Receipt] | None:
    """Make OUT of the folder when every unit is done; called after `unit_folder` was left.

    Args:
        out: replaced as a whole if it is there.
        units: all of the job, not of a shard.
        fingerprint: of the job.
        close: writes what belongs to the whole (`llmkit.json`) and removes what is no output of it. What is
            hidden is removed behind it.
        beside: files that `close` writes outside of the folder; see `written_beside`.

    Returns:
        All receipts; None where units are missing, or another process is at work on them or finishing.
    """
    partial = partial_path(out)
    try:
        lock = open_locked(partial / LOCK)
    except FileNotFoundError:
        return None
    if lock is None:
        return None
    with lock:
        if _key_of(partial) != fingerprint:
            return None
        found = find_receipts(units, partial, fingerprint)
        if len(found) < len(units):
            return None
        receipts = [found[unit.name] for unit in units]
        closing = "".join(f"{path.resolve()}\0" for path in beside if path is not None)
        write_atomic(partial / _CLOSING, os.fsencode(closing))
        close(partial)
        sync_tree(partial)
        replace_folder(partial, out)
        for hidden in list(out.rglob(".*")):  # last: without receipts all would be done again
            shutil.rmtree(hidden, ignore_errors=True) if hidden.is_dir() else hidden.unlink(missing_ok=True)
    return receipts


def written_beside(out: Path) -> set[Path]:
    """What a process that was killed inside `close` may have written outside of the folder: whole paths."""
    try:
        closing = os.fsdecode((partial_path(out) / _CLOSING).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {Path(path) for path in closing.split("\0") if path}


def _prepare(partial: Path, fingerprint: str) -> None:
    """Keep what a job with this fingerprint has left; remove anything else."""
    if _key_of(partial) == fingerprint:
        return
    empty_folder(partial)
    write_atomic(partial / _KEY, fingerprint.encode())


def _key_of(partial: Path) -> str | None:
    try:
        return (partial / _KEY).read_text()
    except FileNotFoundError:
        return None
