"""Vectors of passages, and search by them."""

import sqlite3

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.retrieve import vectors as module
from llmkit.retrieve.passages import Passage
from llmkit.retrieve.store import Store
from llmkit.retrieve.vectors import VectorSearch, create_vectors, has_vectors, put_vectors, without_vectors

WIDTH = 16
Rows = NDArray[np.float32]


def unit(rows: NDArray[np.float64]) -> Rows:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def given(count: int, seed: int = 0) -> Rows:
    """Vectors with a large part in common, as hidden states have it."""
    random = np.random.default_rng(seed)
    return unit(random.normal(size=(count, WIDTH)) + 5 * random.normal(size=WIDTH))


def new_store(count: int) -> Store:
    store = Store.create(sqlite3.connect(":memory:"), {})
    for number in range(count):
        store.add(f"d{number}", "", b"{}", f"text {number}", [Passage(0, 6, "")])
    create_vectors(store.database)
    return store


def test_the_ranking_is_that_of_cosines_without_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 7)
    store, rows, asked = new_store(40), given(40), given(1, seed=1)[0]
    put_vectors(store.database, range(1, 41), rows)
    found = VectorSearch(store.database, WIDTH).search(asked, 12)

    kept = rows.astype(np.float16).astype(np.float64)
    centred, query = kept - kept.mean(0), asked.astype(np.float64) - kept.mean(0)
    cosines = centred @ query / np.linalg.norm(centred, axis=1) / np.linalg.norm(query)
    assert [one.passage for one in found] == [int(place) + 1 for place in np.argsort(-cosines)[:12]]
    assert [one.score for one in found] == pytest.approx(sorted(cosines, reverse=True)[:12], abs=1e-5)


def test_a_vector_goes_with_its_passage_and_what_is_left_is_as_if_it_never_was() -> None:
    rows, asked = given(9), given(1, seed=1)[0]
    store, fresh = new_store(9), new_store(0)
    put_vectors(store.database, range(1, 10), rows)
    put_vectors(fresh.database, [1, 2, 4, 5, 6, 7, 9], rows[[0, 1, 3, 4, 5, 6, 8]])
    store.delete("d2")
    store.delete("d7")
    found, alone = (VectorSearch(one.database, WIDTH).search(asked, 9) for one in (store, fresh))
    assert found == alone
    assert len(found) == 7


def test_passages_without_a_vector_are_told_in_order_with_their_headings() -> None:
    assert not has_vectors(Store.create(sqlite3.connect(":memory:"), {}).database)
    store = new_store(3)
    assert has_vectors(store.database)
    store.add("h", "", b"{}", "under it", [Passage(0, 8, "Above")])
    store.flush()
    put_vectors(store.database, [2], given(1))
    told = list(without_vectors(store.database, 2))
    assert told == [[(1, "text 0"), (3, "text 2")], [(4, "Above\nunder it")]]


def test_equal_vectors_have_no_direction_of_their_own_and_come_as_they_were_added() -> None:
    store = new_store(3)
    put_vectors(store.database, [1, 2, 3], np.repeat(given(1), 3, axis=0))
    found = VectorSearch(store.database, WIDTH).search(given(1, seed=1)[0], 2)
    assert [(one.passage, one.score) for one in found] == [(1, 0.0), (2, 0.0)]
    assert VectorSearch(new_store(0).database, WIDTH).search(given(1)[0], 2) == []
