"""The search that is asked for."""

import json
import threading
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, UsageError
from llmkit.retrieve.config import By, IndexConfig
from llmkit.retrieve.fusion import fuse
from llmkit.retrieve.hits import Hit
from llmkit.workflows.retrieve.embedding import EmbedOptions
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.search import SearchOptions, open_search

TEXTS = ("ant and bee", "only an ant", "nothing of it", "a bee, a bee")


@pytest.fixture
def model(spelled_model: Callable[..., Path]) -> Path:
    return spelled_model()


@pytest.fixture
def index(tmp_path: Path, model: Path) -> Path:
    rows = (json.dumps({"id": str(number), "text": text}) for number, text in enumerate(TEXTS))
    (tmp_path / "d.jsonl").write_text("\n".join(rows) + "\n")
    index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig(), embed=EmbedOptions(model=model))
    return tmp_path / "i"


def found(index: Path, options: SearchOptions, most: int = 9, query: str = "bee") -> list[Hit]:
    with open_index(index) as store:
        return open_search(store, options, index)(query, most)


def test_words_find_what_has_them_meaning_ranks_everything_and_both_fuse_the_two(index: Path) -> None:
    words, meaning = found(index, SearchOptions()), found(index, SearchOptions(by="meaning"))
    assert {one.document for one in words} == {"0", "3"}
    assert {one.document for one in meaning} == {"0", "1", "2", "3"}
    rankings = [[one.document for one in hits] for hits in (words, meaning)]
    for weight, options in ((0.5, {}), (0.9, {"meaning_weight": 0.9})):  # of a language model's hidden states
        fused = fuse(rankings, (1 - weight, weight), 9)
        both = found(index, SearchOptions(by="both", **options))
        assert [(one.document, one.score) for one in both] == fused
        assert found(index, SearchOptions(by="both", **options), most=1) == both[:1]


@pytest.mark.parametrize("by", ["words", "meaning", "both"])
def test_a_query_that_asks_nothing_finds_nothing(index: Path, by: By) -> None:
    assert (
        found(index, SearchOptions(by=by), query="") == found(index, SearchOptions(by=by), query=" \n") == []
    )


def test_so_many_are_ranked_again_and_so_many_given(index: Path, model: Path) -> None:
    first = found(index, SearchOptions(by="meaning"))
    again = found(index, SearchOptions(by="meaning", rerank=model, candidates=2))
    assert len(again) == 4  # never fewer than asked for
    again = found(index, SearchOptions(by="meaning", rerank=model, candidates=2), most=2)
    assert {one.id for one in again} == {one.id for one in first[:2]}
    best = found(index, SearchOptions(by="meaning", rerank=model), most=1)
    assert best == found(index, SearchOptions(by="meaning", rerank=model, candidates=4))[:1]


@pytest.mark.parametrize("by", ["words", "meaning", "both"])
def test_an_open_search_finds_what_one_opened_after_every_change_finds(
    index: Path, by: By, tmp_path: Path
) -> None:
    options = SearchOptions(by=by)
    with open_index(index) as store:
        find = open_search(store, options, index)
        assert find("bee", 9) == found(index, options)
        index_documents([], index, IndexConfig(), delete=("3",))
        assert find("bee", 9) == found(index, options)
        for number in range(9):  # small segments become one, and their numbers are taken again
            (tmp_path / "d.jsonl").write_text(
                json.dumps({"id": f"n{number}", "text": f"bee {number}"}) + "\n"
            )
            index_documents([tmp_path / "d.jsonl"], index, IndexConfig(), add=True)
        hits = find("bee", 99)
        assert hits == found(index, options, most=99)
        assert {hit.document for hit in hits} >= {"0", *(f"n{number}" for number in range(9))}


def test_threads_search_one_index_together(index: Path) -> None:
    with open_index(index) as store:
        find, hits = open_search(store, SearchOptions(), index), list[list[Hit]]()
        threads = [
            threading.Thread(target=lambda: hits.extend(find("bee", 9) for _ in range(50))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hits == [find("bee", 9)] * 200


@pytest.mark.parametrize(
    "options",
    [
        {"embed": EmbedOptions(model=Path("m"))},
        {"embed": EmbedOptions(url="http://h")},
        {"embed": EmbedOptions(name="m")},
        {"embed": EmbedOptions(key=Path("k"))},
        {"candidates": 5},
        {"meaning_weight": 0.5},
        {"device": "cpu"},
        {"device": "cpu", "by": "meaning", "embed": EmbedOptions(url="http://h")},
    ],
)
def test_an_option_that_has_nothing_to_say_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SearchOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"seconds": nan}, {"seconds": inf}, {"by": "both", "meaning_weight": nan}]
)
def test_a_number_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SearchOptions(**options)
