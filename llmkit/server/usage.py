"""What each key has used: kept in SQLite, so that budgets survive a restart and anybody can look.

    usage(day TEXT, key TEXT, model TEXT, requests, prompt_tokens, cached_tokens, completion_tokens)

Days are UTC's. A thread writes; what is asked for is answered from memory. What cannot be written waits
there, added up by day, key and model, and is tried again.
"""

import contextlib
import logging
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, ResourceError
from llmkit.server.answer import Usage

_COLUMNS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")
_CREATE = f"""
CREATE TABLE IF NOT EXISTS usage (
    day TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    {", ".join(f"{name} INTEGER NOT NULL" for name in _COLUMNS)},
    PRIMARY KEY (day, key, model)
) WITHOUT ROWID
"""
_ADD = f"""
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (day, key, model) DO UPDATE SET
    {", ".join(f"{name} = {name} + excluded.{name}" for name in _COLUMNS)}
"""
_DAYS = "SELECT day, key, sum(prompt_tokens + completion_tokens) FROM usage GROUP BY day, key"
_ROWS = f"SELECT day, key, model, {', '.join(_COLUMNS)} FROM usage ORDER BY day, key, model"

FIRST_PAUSE = 1.0
"""Seconds until what could not be written is tried again; twice as long each time."""
_LONGEST_PAUSE = 60.0
_HINT = "make room on the disk, or end what holds the file; it is tried again until the server ends"
_MOST_TOLD = 20
"""Keys of which it is told what was lost."""

Rows = dict[tuple[str, str, str], list[int]]
"""By day, key and model, what `_COLUMNS` say."""


class UsageStore:
    """The tokens of every key, day by day.

    Attributes:
        unwritten: requests that are not in the database yet.
    """

    def __init__(self, path: Path | None, *, first_pause: float = FIRST_PAUSE) -> None:
        """
        Args:
            path: of the database, made where there is none; None: kept in memory only.
            first_pause: seconds until what could not be written is tried again.

        Raises:
            DataError: it is not such a database.
            ResourceError: it cannot be written.
        """
        self.unwritten = 0
        self._path = path
        self._first_pause = first_pause
        self._days: dict[tuple[str, str], int] = defaultdict(int)
        with _is_usage(path):
            self._database = _open(path)
            for day, key, tokens in self._database.execute(_DAYS):
                self._days[day, key] = tokens
        self._waiting: Rows = {}
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="usage", daemon=True)
        self._thread.start()

    def charge(self, key: str, model: str, usage: Usage, now: datetime) -> None:
        """Add what a request took."""
        day = now.date().isoformat()
        self._days[day, key] += usage.total_tokens
        row = [1, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens]
        with self._changed:
            self.unwritten += 1
            _add_rows(self._waiting, {(day, key, model): row})
            self._changed.notify()

    def tokens_of_day(self, key: str, now: datetime) -> int:
        """Tokens that a key has used today."""
        return self._days[now.date().isoformat(), key]

    def tokens_of_month(self, key: str, now: datetime) -> int:
        """Tokens that a key has used this month."""
        month = now.strftime("%Y-%m-")
        return sum(
            tokens for (day, name), tokens in self._days.items() if name == key and day.startswith(month)
        )

    def close(self) -> None:
        """Write what is left; what cannot be written now is lost, and the log says how much."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._database.close()

    def _write(self) -> None:
        """Add rows as they come, those that have come together in one transaction."""
        pause = 0.0
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                self._changed.wait_for(lambda: self._closing, pause)
                rows, self._waiting, closing = self._waiting, {}, self._closing
            try:
                with self._database:  # what fails in it is not in the database at all
                    self._database.executemany(_ADD, [(*place, *row) for place, row in rows.items()])
            except sqlite3.Error as error:
                with self._changed:
                    _add_rows(self._waiting, rows)
                if closing:
                    self._tell_lost(error)
                elif not pause:
                    self._tell(f"what keys use cannot be written ({error}), and waits in memory", _HINT)
                pause = min(2 * pause or self._first_pause, _LONGEST_PAUSE)
                continue
            with self._changed:
                self.unwritten -= sum(row[0] for row in rows.values())
            if pause:
                logging.getLogger("llmkit.serve").warning("%s: what keys use is written again", self._path)
            pause = 0.0

    def _tell_lost(self, error: sqlite3.Error) -> None:
        tokens: dict[str, int] = defaultdict(int)
        for (_, key, _), (_, read, _, written) in self._waiting.items():
            tokens[key] += read + written
        told = [f"{count:,} of {key or 'everybody'}" for key, count in tokens.items()]
        more = f" and {len(told) - _MOST_TOLD:,} more keys" if len(told) > _MOST_TOLD else ""
        lost = f"{', '.join(told[:_MOST_TOLD])}{more}"
        self._tell(
            f"{self.unwritten:,} requests could not be written ({error}) and are lost; tokens: {lost}",
            "these keys have so much more of their budgets after a restart",
        )

    def _tell(self, problem: str, hint: str) -> None:
        log = logging.getLogger("llmkit.serve")
        log.error("llmkit: error: %s: %s\n  hint: %s", self._path or "usage", problem, hint)


def _add_rows(rows: Rows, more: Rows) -> None:
    for place, row in more.items():
        old = rows.get(place)
        rows[place] = row if old is None else [one + other for one, other in zip(old, row, strict=True)]


def read_usage(path: Path) -> list[dict[str, Any]]:
    """Every row of a database, oldest first; the file stays as it is.

    Raises:
        DataError: it is not such a database.
        ResourceError: it cannot be read.
    """
    if not path.stat().st_size:  # made by somebody for a server to come
        return []
    with _is_usage(path), contextlib.closing(_connected(f"{path.absolute().as_uri()}?mode=ro")) as database:
        names = ("day", "key", "model", *_COLUMNS)
        return [dict(zip(names, row, strict=True)) for row in database.execute(_ROWS)]


def day_ends_in(now: datetime) -> float:
    """Seconds until the UTC day of a time is over."""
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    return (midnight - now).total_seconds()


def month_ends_in(now: datetime) -> float:
    """Seconds until the UTC month of a time is over."""
    first = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    return (first - now).total_seconds()


def _open(path: Path | None) -> sqlite3.Connection:
    """A database that can be written, made where there is none."""
    database = _connected(":memory:" if path is None else path.absolute().as_uri())
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(_CREATE)
    return database


def _connected(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, check_same_thread=False)


@contextlib.contextmanager
def _is_usage(path: Path | None) -> Iterator[None]:
    """Tell what SQLite says of a file that is opened here.

    Raises:
        DataError: it is no database, or another program's.
        ResourceError: it cannot be opened, or not now.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        is_there = not isinstance(error, sqlite3.OperationalError) or error.sqlite_errorname == "SQLITE_ERROR"
        if is_there:  # SQLITE_ERROR: without our table, or with another's of its name
            raise DataError(f"{path}: not a database of usage ({error})", hint="name another file") from None
        raise ResourceError(f"{path}: cannot be opened ({error})", hint="name another file") from None
