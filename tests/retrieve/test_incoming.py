"""Documents on their way into an index."""

import sqlite3

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.retrieve import incoming as module
from llmkit.retrieve.config import Bm25Config
from llmkit.retrieve.passages import Passage
from llmkit.retrieve.postings import Postings
from llmkit.retrieve.search import WordSearch
from llmkit.retrieve.store import Store


def new_store() -> Store:
    return Store.create(sqlite3.connect(":memory:"), {})


def add(store: Store, name: str, text: str) -> int:
    return store.add(name, "", b"{}", text, [Passage(0, len(text), "")])


def test_rows_are_written_together_and_whoever_asks_sees_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    store = new_store()
    count = "SELECT count(*) FROM documents"
    seen = []
    for number in range(4):
        add(store, f"d{number}", "ant")
        seen.append(store.database.execute(count).fetchone()[0])
    assert seen == [0, 0, 3, 3]
    assert (store.num_documents, store.num_passages) == (4, 4)


def test_documents_without_a_passage_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    store = new_store()
    for number in range(3):
        store.add(f"d{number}", "", b"{}", "", [])
    assert store.database.execute("SELECT count(*) FROM documents").fetchone() == (3,)


def test_a_text_that_another_replaces_before_it_was_kept_gets_into_no_segment() -> None:
    store = new_store()
    add(store, "a", "ant ant")
    store.delete("a")
    add(store, "a", "bee")
    store.commit()
    (segment,) = store.segments()
    assert segment.passages.tolist() == [2]
    assert store.database.execute("SELECT count(*) FROM gone").fetchone() == (0,)
    assert WordSearch(store, Bm25Config()).search("ant", 5) == []


def test_replacing_documents_one_by_one_makes_one_segment() -> None:
    store = new_store()
    for number in range(20):
        add(store, f"d{number}", "ant")
    store.commit()
    for number in range(20):
        store.delete(f"d{number}")
        add(store, f"d{number}", "bee")
    store.commit()
    assert len(store.segments()) == 2
    assert len(WordSearch(store, Bm25Config()).search("bee", 50)) == 20


def test_a_segment_is_made_when_there_are_characters_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_CHARACTERS", 8)
    made: list[list[int]] = []

    def keep(numbers: NDArray[np.int64], postings: Postings) -> None:
        made.append(numbers.tolist())

    incoming = module.Incoming(new_store().database, 5, keep)
    for name in ("a", "b", "c"):
        incoming.add(name, "", b"{}", "ant bee", [Passage(0, 7, "")])
    incoming.write_words()
    assert made == [[5, 6], [7]]
