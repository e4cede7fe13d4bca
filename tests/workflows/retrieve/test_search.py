"""The search that is asked for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.retrieve.config import IndexConfig
from llmkit.retrieve.fusion import fuse
from llmkit.retrieve.hits import Hit
from llmkit.workflows.retrieve.embed import EmbedOptions
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


def found(index: Path, options: SearchOptions, most: int = 9) -> list[Hit]:
    with open_index(index) as store:
        return open_search(store, options, index)("bee", most)


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


def test_so_many_are_ranked_again_and_so_many_given(index: Path, model: Path) -> None:
    first = found(index, SearchOptions(by="meaning"))
    again = found(index, SearchOptions(by="meaning", rerank=model, candidates=2))
    assert len(again) == 4  # never fewer than asked for
    again = found(index, SearchOptions(by="meaning", rerank=model, candidates=2), most=2)
    assert {one.id for one in again} == {one.id for one in first[:2]}
    best = found(index, SearchOptions(by="meaning", rerank=model), most=1)
    assert best == found(index, SearchOptions(by="meaning", rerank=model, candidates=4))[:1]


@pytest.mark.parametrize(
    "options", [{"embed": EmbedOptions(model=Path("m"))}, {"candidates": 5}, {"meaning_weight": 0.5}]
)
def test_an_option_that_has_nothing_to_say_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SearchOptions(**options)  # type: ignore[arg-type]
