"""What keys used survives a restart, adds up by day and month, and is read by anybody with SQLite."""

import sqlite3
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
