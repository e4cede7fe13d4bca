"""Searching by words: beside bm25s, and beside adding everything up."""

import random
import sqlite3

import numpy as np
import pytest

from llmkit.retrieve import search as module
from llmkit.retrieve.config import Bm25Config
from llmkit.retrieve.passages import Passage
from llmkit.retrieve.search import WordSearch
from llmkit.retrieve.store import Store


def zipf_texts(count: int, seed: int = 0) -> list[str]:
    random_ = random.Random(seed)
    words = [f"w{number}" for number in range(400)]
    weights = [1 / (number + 1) for number in range(400)]
    return [" ".join(random_.choices(words, weights, k=random_.randrange(5, 60))) for _ in range(count)]


def store_of(texts: list[str], *, every: int = 10**9) -> Store:
    store = Store.create(sqlite3.connect(":memory:"), {})
    for number, text in enumerate(texts):
        store.add(str(number), "", b"{}", text, [Passage(0, len(text), "")])
        if number % every == every - 1:
            store._incoming.write_words()
    store.commit()
    return store


@pytest.mark.parametrize("every", [10**9, 300])
@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (1.2, 0.3)])
def test_scores_and_ranking_are_those_of_bm25s(every: int, k1: float, b: float) -> None:
    bm25s = pytest.importorskip("bm25s")
    texts = zipf_texts(1200)
    peer = bm25s.BM25(method="lucene", k1=k1, b=b)
    peer.index([text.split() for text in texts], show_progress=False)
    search = WordSearch(store_of(texts, every=every), Bm25Config(k1=k1, b=b))
    for query in zipf_texts(40, seed=1):
        words = query.split()[:6]
        expected = peer.get_scores(words)
        hits = search.search(" ".join(words), 10)
        order = np.argsort(-expected, kind="stable")[:10]
        assert [hit.score for hit in hits] == pytest.approx(expected[order].tolist(), abs=1e-4)
        for hit in hits:
            assert hit.score == pytest.approx(expected[hit.passage - 1], abs=1e-4)


def test_leaving_passages_out_early_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(zipf_texts(3000), every=1000)
    queries = [" ".join(query.split()[:8]) for query in zipf_texts(60, seed=2)]
    monkeypatch.setattr(module, "_FEW", 10**9)
    whole = [WordSearch(store, Bm25Config()).search(query, 5) for query in queries]
    monkeypatch.setattr(module, "_FEW", 3)
    search = WordSearch(store, Bm25Config())
    early = [search.search(query, 5) for query in queries]
    assert early == whole
    assert search._common  # and what is kept of common words was used


def test_a_word_that_a_segment_has_lost_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", 3)
    store = store_of([f"the cat n{number}" for number in range(20)])
    for name, text in (("A", "zebra"), ("B", "the dog")):
        store.add(name, "", b"{}", text, [Passage(0, len(text), "")])
    store.commit()
    assert store.delete("B")
    store.commit()
    (best,) = WordSearch(store, Bm25Config()).search("zebra the", 1)
    assert store.passages_of([best.passage])[0].document == "A"


def test_nothing_is_found_for_unknown_words_and_in_an_empty_index() -> None:
    assert WordSearch(store_of(["ant bee"]), Bm25Config()).search("fox", 5) == []
    assert WordSearch(store_of(["ant bee"]), Bm25Config()).search("", 5) == []
    assert WordSearch(store_of([]), Bm25Config()).search("ant", 5) == []


def test_a_word_that_the_query_repeats_counts_twice() -> None:
    search = WordSearch(store_of(["ant bee", "fox"]), Bm25Config())
    assert search.search("ant ant", 1)[0].score == pytest.approx(2 * search.search("ant", 1)[0].score)
