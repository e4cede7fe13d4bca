"""What each key has used: kept in SQLite, so that budgets survive a restart and anybody can look.

    usage(day TEXT, key TEXT, model TEXT, requests, prompt_tokens, cached_tokens, completion_tokens)

Days are UTC's. A thread writes; what is asked for is answered from memory.
"""

import queue
import sqlite3
import threading
from collections import defaultdict
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

Row = tuple[str, str, str, int, int, int, int]


class UsageStore:
    """The tokens of every key, day by day."""

    def __init__(self, path: Path | None) -> None:
        """
        Args:
            path: of the database, made where there is none; None: kept in memory only.

        Raises:
            DataError: it is not such a database.
            ResourceError: it cannot be written.
        """
        self._database = _open(path)
        self._days: dict[tuple[str, str], int] = defaultdict(int)
        for day, key, tokens in self._database.execute(
            "SELECT day, key, sum(prompt_tokens + completion_tokens) FROM usage GROUP BY day, key"
        ):
            self._days[day, key] = tokens
        self._queue: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="usage", daemon=True)
        self._thread.start()

    def charge(self, key: str, model: str, usage: Usage, now: datetime) -> None:
        """Add what a request took."""
        day = now.date().isoformat()
        self._days[day, key] += usage.total_tokens
        row = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
        self._queue.put((day, key, model, 1, *row))

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
        """Write what is left."""
        self._queue.put(None)
        self._thread.join()
        self._database.close()

    def _write(self) -> None:
        """Add rows as they come, those that have come together in one transaction."""
        open_ = True
        while open_:
            rows = [self._queue.get()]
            while not self._queue.empty():
                rows.append(self._queue.get())
            open_ = None not in rows
            with self._database:
                self._database.executemany(_ADD, [row for row in rows if row is not None])


def read_usage(path: Path) -> list[dict[str, Any]]:
    """Every row of a database, oldest first.

    Raises:
        DataError: it is not such a database.
    """
    database = _open(path)
    try:
        names = ("day", "key", "model", *_COLUMNS)
        rows = database.execute(f"SELECT {', '.join(names)} FROM usage ORDER BY day, key, model")
        return [dict(zip(names, row, strict=True)) for row in rows]
    finally:
        database.close()


def day_ends_in(now: datetime) -> float:
    """Seconds until the UTC day of a time is over."""
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    return (midnight - now).total_seconds()


def month_ends_in(now: datetime) -> float:
    """Seconds until the UTC month of a time is over."""
    first = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    return (first - now).total_seconds()


def _open(path: Path | None) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path or ":memory:", check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_CREATE)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise ResourceError(f"{path}: cannot be opened ({error})", hint="name another file") from None
        raise DataError(f"{path}: not a database of usage ({error})", hint="name another file") from None
    return database
