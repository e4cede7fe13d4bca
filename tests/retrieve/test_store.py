"""An index in SQLite: adding, taking out, merging."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import DataError
from llmkit.retrieve import store as module
from llmkit.retrieve.config import Bm25Config
from llmkit.retrieve.passages import Passage
from llmkit.retrieve.search import WordSearch
from llmkit.retrieve.store import Store

WORDS = ["ant", "bee", "cat", "dog", "eel", "fox"]
DOCUMENT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "delete", "commit"]), st.integers(0, 5), DOCUMENT), max_size=14
)


def new_store() -> Store:
    return Store.create(sqlite3.connect(":memory:"), {"chunk": 4})


def add(store: Store, name: str, text: str) -> None:
    half = len(text) // 2
    store.add(name, text, b'{"source":"test"}', text, [Passage(0, half, ""), Passage(half, len(text), "Top")])


def found(store: Store) -> list[tuple[str, str, float]]:
    search = WordSearch(store, Bm25Config())
    rows = []
    for word in (*WORDS, "top"):
        hits = search.search(word, 100)
        for hit, one in zip(hits, store.passages_of([hit.passage for hit in hits]), strict=True):
            rows.append((word, one.document, one.text, round(hit.score, 5)))
    return sorted(rows)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_whatever_was_added_and_taken_out_searches_are_those_of_a_new_index(
    steps: list[tuple[str, int, str]],
) -> None:
    store, now = new_store(), dict[str, str]()
    for act, number, text in steps:
        name = f"d{number}"
        if act == "add" and name not in now:
            add(store, name, text)
            now[name] = text
        elif act == "delete":
            assert store.delete(name) == (now.pop(name, None) is not None)
        elif act == "commit":
            store.commit()
    store.commit()
    fresh = new_store()
    for name, text in now.items():
        add(fresh, name, text)
    fresh.commit()
    assert found(store) == found(fresh)
    assert (store.num_documents, store.num_passages) == (len(now), fresh.num_passages)
    store.merge()
    assert found(store) == found(fresh)
    assert len(store.segments()) <= 1


def test_many_small_segments_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store()
    for number in range(module.MOST_SMALL + 1):
        add(store, f"d{number}", f"ant bee {number}")
        store.commit()
    assert len(store.segments()) == 1
    monkeypatch.setattr(module, "SEGMENT_CHARACTERS", 8)  # now all are large
    for number in range(module.MOST_SMALL + 1):
        add(store, f"e{number}", f"cat dog {number}")
        store.commit()
    assert len(store.segments()) == module.MOST_SMALL + 2


def test_a_word_whose_postings_fill_several_blocks_is_found_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BLOCK", 3)
    store = new_store()
    for number in range(10):
        store.add(f"d{number}", "", b"{}", "ant bee", [Passage(0, 7, "")])
    store.commit()
    hits = WordSearch(store, Bm25Config()).search("bee", 20)
    assert [one.passage for one in hits] == list(range(1, 11))


def test_what_is_not_committed_is_not_there_for_others(tmp_path: object) -> None:
    path = f"{tmp_path}/index"
    store = Store.create(sqlite3.connect(path), {})
    store.commit()
    add(store, "a", "ant bee")
    assert Store(sqlite3.connect(path)).num_documents == 0
    store.commit()
    again = Store(sqlite3.connect(path))
    assert again.num_documents == 1
    assert again.digests_of(["b", "a"]) == {"a": "ant bee"}


def test_others_commit_no_change_while_a_state_is_read_and_the_next_has_another_number(
    tmp_path: object,
) -> None:
    path = f"{tmp_path}/index"
    Store.create(sqlite3.connect(path), {}).commit()
    store, other = Store(sqlite3.connect(path)), Store(sqlite3.connect(path, timeout=0))
    add(other, "a", "ant bee")
    with store.one_state() as first:
        pass
    with store.one_state() as state:
        assert state == first
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.commit()
        assert store.num_documents == 0
    other.commit()
    with store.one_state() as again:
        assert again != state and store.num_documents == 1


def test_a_passage_never_gets_the_number_of_one_that_is_gone(tmp_path: object) -> None:
    path = f"{tmp_path}/index"
    store = Store.create(sqlite3.connect(path), {})
    add(store, "a", "ant bee")
    store.commit()
    store.delete("a")
    store.commit()
    again = Store(sqlite3.connect(path))
    add(again, "b", "fox eel")
    again.commit()
    assert [word for word, *_ in found(again)] == ["eel", "fox", "top"]


def test_a_document_can_be_given_another_record() -> None:
    store = new_store()
    add(store, "a", "ant bee")
    add(store, "b", "ant bee")
    new = {"a": b'{"source":"new"}', "b": b'{"source":"test"}', "none": b"{}"}
    assert store.describe(new) == 1
    told = {one.document: bytes(one.record["source"]) for one in store.passages_of([1, 3])}
    assert told == {"a": b'"new"', "b": b'"test"'}


def test_a_database_of_something_else_is_refused() -> None:
    with pytest.raises(DataError, match="not an index"):
        Store(sqlite3.connect(":memory:"))
    store = new_store()
    store.database.execute("UPDATE meta SET value = 'other/1' WHERE name = 'words'")
    with pytest.raises(DataError, match="another kind"):
        Store(store.database)


def test_the_way_passages_were_cut_is_kept() -> None:
    assert new_store().settings == {"chunk": 4}
