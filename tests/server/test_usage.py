"""What keys used survives a restart, adds up by day and month, and is read by anybody with SQLite."""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmkit.errors import DataError, ResourceError
from llmkit.server.answer import Usage
from llmkit.server.usage import UsageStore, day_ends_in, month_ends_in, read_usage

EVENING = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
MORNING = datetime(2027, 1, 1, 8, 0, tzinfo=UTC)


def test_charges_add_up_and_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    for _ in range(2):
        store = UsageStore(path)
        store.charge("alice", "m", Usage(10, 4, 5), EVENING)
        store.charge("alice", "m", Usage(1, 0, 1), MORNING)
        store.charge("bob", "m", Usage(100, 0, 0), MORNING)
        store.close()
    store = UsageStore(path)
    assert store.tokens_of_day("alice", EVENING) == store.tokens_of_month("alice", EVENING) == 30
    assert store.tokens_of_day("alice", MORNING) == store.tokens_of_month("alice", MORNING) == 4
    assert store.tokens_of_day("carol", MORNING) == 0
    store.close()
    rows = sqlite3.connect(path).execute("SELECT * FROM usage ORDER BY day, key").fetchall()
    assert rows[0] == ("2026-12-31", "alice", "m", 2, 20, 8, 10)
    assert [row["requests"] for row in read_usage(path)] == [2, 2, 2]


def test_a_day_and_a_month_end_at_midnight_utc() -> None:
    assert day_ends_in(EVENING) == month_ends_in(EVENING) == 3600
    assert month_ends_in(MORNING) == 30 * 86400 + 16 * 3600


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    path.write_text("something else " * 100)
    with pytest.raises(DataError, match="not a database"):
        UsageStore(path)
    with pytest.raises(ResourceError, match="cannot be opened"):
        UsageStore(tmp_path / "none" / "usage.db")


@pytest.mark.parametrize("table", ["usage (a TEXT)", "others (a TEXT)"])
def test_another_programs_database_is_told_and_not_changed_by_who_looks(tmp_path: Path, table: str) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(f"CREATE TABLE {table}")
    before = path.read_bytes()
    with pytest.raises(DataError, match="not a database of usage"):
        read_usage(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    if table.startswith("usage"):
        with pytest.raises(DataError, match="not a database of usage"):
            UsageStore(path)


def test_an_empty_file_has_counted_nothing_yet(tmp_path: Path) -> None:
    path = tmp_path / "a #? name%20.db"
    path.touch()
    assert read_usage(path) == [] and path.stat().st_size == 0
    UsageStore(path).close()
    assert read_usage(path) == [] and path.stat().st_size > 0


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def locked(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def impatient(path: Path) -> UsageStore:
    store = UsageStore(path, first_pause=0.02)
    store._database.execute("PRAGMA busy_timeout = 20")  # SQLite's own patience, of 5 seconds
    return store


def test_what_another_program_kept_from_being_written_is_written_when_it_is_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "usage.db"
    store = impatient(path)
    other = locked(path)
    for _ in range(3):
        store.charge("alice", "m", Usage(10, 4, 5), EVENING)
        until(lambda: "waits in memory" in caplog.text)
    time.sleep(0.2)  # some tries more
    assert store.unwritten == 3 and len(store._waiting) <= 1
    other.execute("ROLLBACK")
    until(lambda: store.unwritten == 0)
    store.charge("alice", "m", Usage(1, 0, 0), EVENING)
    until(lambda: store.unwritten == 0)
    store.close()
    assert read_usage(path) == [
        {"day": "2026-12-31", "key": "alice", "model": "m", "requests": 4}
        | {"prompt_tokens": 31, "cached_tokens": 12, "completion_tokens": 15}
    ]
    first, second = caplog.records  # once that it fails, and once that it works
    assert "usage.db: what keys use cannot be written (database is locked)" in first.message
    assert first.levelno == logging.ERROR and "\n  hint: " in first.message
    assert second.message.endswith("usage.db: what keys use is written again")


def test_the_end_tries_once_more_and_says_what_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "usage.db"
    store = impatient(path)
    store._first_pause = 60.0  # the end does not wait for it
    other = locked(path)
    store.charge("alice", "m", Usage(10, 4, 5), EVENING)
    until(lambda: "waits in memory" in caplog.text)
    store.charge("bob", "m", Usage(1_000, 0, 234), MORNING)
    other.execute("ROLLBACK")
    store.close()
    assert [row["key"] for row in read_usage(path)] == ["alice", "bob"]
    store = impatient(path)
    other = locked(path)
    store.charge("alice", "m", Usage(10, 4, 5), EVENING)
    store.charge("bob", "m", Usage(1_000, 0, 234), MORNING)
    store.close()
    other.close()
    assert "2 requests could not be written (database is locked) and are lost" in caplog.text
    assert "tokens: 15 of alice, 1,234 of bob" in caplog.text
    assert [row["requests"] for row in read_usage(path)] == [1, 1]
