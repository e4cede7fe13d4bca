"""What is found, with its texts."""

import sqlite3

import msgspec
import pytest

from llmkit.retrieve.hits import hits_of
from llmkit.retrieve.passages import Passage
from llmkit.retrieve.search import Found
from llmkit.retrieve.store import Store

TEXT = "# Bees\nA bee makes honey. "


@pytest.fixture
def store() -> Store:
    made = Store.create(sqlite3.connect(":memory:"), {})
    record = msgspec.json.encode({"source": "book", "more": 1})
    made.add("zoo", "digest", record, TEXT * 2, [Passage(0, 25, "Bees"), Passage(25, 50, "")])
    made.commit()
    return made


def test_hits_keep_the_searches_order_and_scores_and_name_their_place(store: Store) -> None:
    second, first = hits_of(store, [Found(2, 0.75), Found(1, 0.5)])
    assert (second.id, second.score, second.heading) == ("zoo:25-50", 0.75, "")
    assert (first.id, first.score, first.heading, first.text) == ("zoo:0-25", 0.5, "Bees", TEXT[:25])
    assert first.source == msgspec.Raw(b'"book"') and first.metadata is None


def test_nothing_that_is_absent_is_written(store: Store) -> None:
    (hit,) = hits_of(store, [Found(2, 1.0)])
    assert set(msgspec.json.decode(msgspec.json.encode(hit))) == {
        *("id", "score", "document", "start", "end", "text", "source"),
    }
