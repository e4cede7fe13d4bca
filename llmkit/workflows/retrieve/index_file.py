"""The file of an index: opened to search, made, or changed; every error of SQLite says which file."""

import errno
import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, MissingError, ResourceError, UsageError, at_place, room_hint
from llmkit.formats.atomic import atomic_file, refuse_existing, refuse_unwritable
from llmkit.formats.output_place import refuse_special
from llmkit.retrieve.store import Store

_CHUNK_BYTES = 1 << 17
"""More than SQLite writes at once."""
_CHANGED_KIB = 1 << 18
"""Memory for changes that are not committed: beyond, they go to the file, and others wait or are refused."""


@contextmanager
def open_index(path: Path) -> Iterator[Store]:
    """An index to search; from any thread, but from one at a time.

    Raises:
        MissingError: there is none.
        UsageError: it may not be read.
        DataError: the file is something else, or a change was cut off that cannot be undone here.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such index", hint=f"llmkit retrieve index DOCUMENTS -o {path}")
    address = f"{path.resolve().as_uri()}?mode=ro"
    with named(path), closing(sqlite3.connect(address, uri=True, check_same_thread=False)) as database:
        if _was_cut_off(database):
            _undo(path)
        yield _store_in(database, path)


@contextmanager
def created_index(out: Path, settings: dict[str, Any], *, force: bool, inputs: list[Path]) -> Iterator[Store]:
    """A new index under a temporary name, without a journal: it is whole or it is not there.

    Raises:
        UsageError: `out` exists and may not be replaced, or is an input.
        ResourceError, DataError: the disk is full, or SQLite has another complaint.
    """
    refuse_existing(out, force=force, inputs=inputs, is_file=True)
    refuse_special(out, "an index")
    with (
        atomic_file(out) as stream,
        named(out, Path(stream.name)),  # within: while the file is there, and may fill the disk
        closing(sqlite3.connect(stream.name)) as database,
    ):
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        yield Store.create(database, settings)


@contextmanager
def changed_index(path: Path) -> Iterator[Store]:
    """An index that is there; what is not committed is not kept, whatever happens.

    Raises:
        MissingError: there is none.
        UsageError: it or its folder may not be written.
        DataError: the file is something else, or another process has it.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no index to change", hint=f"llmkit retrieve index DOCUMENTS -o {path}")
    refuse_unwritable(path, in_place=True)
    refuse_unwritable(path.with_name(f"{path.name}-journal"))  # of SQLite, there while something changes
    with named(path), closing(sqlite3.connect(path, timeout=10)) as database:
        _store_in(database, path)  # another kind of file is called that, not a damaged index
        database.execute(f"PRAGMA cache_size = -{_CHANGED_KIB}")
        database.execute("BEGIN IMMEDIATE")  # so that no other process numbers passages meanwhile
        yield _store_in(database, path)


def _was_cut_off(database: sqlite3.Connection) -> bool:
    """Whether the journal of a change that was killed is there, which a reader may not undo."""
    try:
        database.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY
    except sqlite3.DatabaseError:
        pass  # no database: told where it is opened
    return False


def _undo(path: Path) -> None:
    """Bring a file back to what it was before a change that was cut off: SQLite does, for who may write.

    Raises:
        DataError: nobody may write here.
    """
    try:
        with closing(sqlite3.connect(path, timeout=10)) as database:
            database.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
            raise
        raise DataError(
            f"{path}: a change was cut off, and is undone where it can be written",
            hint=f"llmkit retrieve query {path} WORD, as who may write there",
        ) from None


def _store_in(database: sqlite3.Connection, path: Path) -> Store:
    with at_place(str(path)):
        return Store(database)


def _lack_of_room(file: Path) -> int | None:
    """Why a file cannot grow, of `DISK_FULL`; None: there is room.

    SQLite tells of a limit on a file's size as of a broken disk.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = file.with_name(f"{file.name}-journal")
    longest = max((one.stat().st_size for one in (file, journal) if one.exists()), default=0)
    if limit != resource.RLIM_INFINITY and longest + _CHUNK_BYTES > limit:
        return errno.EFBIG
    return errno.ENOSPC if shutil.disk_usage(file.parent).free < _CHUNK_BYTES else None


@contextmanager
def named(path: Path, file: Path | None = None) -> Iterator[None]:
    """Say which file an error is about.

    Args:
        path: what people call it.
        file: what is written, where that is a temporary one.

    Raises:
        UsageError, ResourceError, DataError: in place of an error of SQLite.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else _lack_of_room(file or path)
        if number is not None and code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            hint = f"{room_hint(number)}; the previous output is untouched"
            raise ResourceError(f"{path}: {os.strerror(number).lower()}", hint=hint) from None
        if code == sqlite3.SQLITE_IOERR:
            raise ResourceError(f"{path}: {error}", hint=f"check the disk: df {path.parent}") from None
        if code == sqlite3.SQLITE_CANTOPEN:
            raise UsageError(f"{path}: may not be read", hint="check the path and its permissions") from None
        raise DataError(f"{path}: {error}", hint=f"see who has it open: lsof {path}") from None
    except sqlite3.DatabaseError as error:
        raise DataError(
            f"{path}: damaged ({error})", hint=f"llmkit retrieve index DOCUMENTS -o {path} --force"
        ) from None
