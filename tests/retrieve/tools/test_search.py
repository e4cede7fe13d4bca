"""An index as a tool: its passages are the search's own, as many as fit."""

import json

from llmkit.retrieve.config import Bm25Config
from llmkit.retrieve.hits import Find, hits_of
from llmkit.retrieve.search import WordSearch
from llmkit.retrieve.store import Store
from llmkit.retrieve.tools.config import ToolLimits
from llmkit.retrieve.tools.search import SearchTool
from tests.retrieve.test_search import store_of, zipf_texts


def words_of(store: Store) -> Find:
    search = WordSearch(store, Bm25Config())
    return lambda query, most: hits_of(store, search.search(query, most))


TEXTS = zipf_texts(200)


def test_it_gives_the_passages_that_the_search_finds_in_its_order() -> None:
    store = store_of(TEXTS)
    query = " ".join(TEXTS[7].split()[:5])
    passages = json.loads(SearchTool(words_of(store), ToolLimits()).call({"query": query}))
    found = WordSearch(store, Bm25Config()).search(query, 5)
    assert [one["text"] for one in passages] == [TEXTS[hit.passage - 1] for hit in found]
    assert [one["document"] for one in passages] == [str(hit.passage - 1) for hit in found]


def test_passages_that_do_not_fit_are_left_out_and_nothing_found_is_an_empty_list() -> None:
    store = store_of(["alpha " * 100, "alpha beta", "gamma"])
    told = SearchTool(words_of(store), ToolLimits(output_bytes=200)).call({"query": "alpha"})
    assert len(told.encode()) <= 200
    assert json.loads(told) == [{"document": "1", "text": "alpha beta"}]
    assert SearchTool(words_of(store), ToolLimits(), "find").call({"query": "omega"}) == "[]"
