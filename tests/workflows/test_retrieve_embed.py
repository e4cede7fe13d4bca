"""The model that an index has its vectors from."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.retrieve.config import IndexConfig
from llmkit.workflows.retrieve_index import index_documents, open_index
from llmkit.workflows.retrieve_search import SearchOptions, open_search

TEXTS = {"a": "# Ants\nAn ant carries leaves.", "b": "A bee makes honey.", "c": "A cat sleeps all day."}
Build = Callable[..., Path]


def documents(path: Path, texts: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))
    return path


@pytest.fixture
def model(spelled_model: Build) -> Path:
    return spelled_model()


@pytest.fixture
def index(tmp_path: Path, model: Path) -> Path:
    report = index_documents(
        [documents(tmp_path / "d.jsonl", TEXTS)], tmp_path / "i", IndexConfig(), embed=model
    )
    assert report.embedded == report.passages == 3
    return tmp_path / "i"


def ranked(index: Path, query: str = "honey bees", embed: Path | None = None) -> list[tuple[str, float]]:
    with open_index(index) as store:
        found = open_search(store, SearchOptions(by="meaning", embed=embed), index)(query, 9)
        passages = store.passages_of([one.passage for one in found])
        return [(one.document, round(hit.score, 4)) for one, hit in zip(passages, found, strict=True)]


def test_an_index_that_changed_ranks_as_one_made_at_once(index: Path, model: Path, tmp_path: Path) -> None:
    changed = {"b": "A bee makes wax.", "d": "A dog barks."}
    more = documents(tmp_path / "more.jsonl", changed)
    report = index_documents([more], index, IndexConfig(), add=True, delete=("c",))
    assert (report.embedded, report.passages) == (2, 3)
    whole = documents(tmp_path / "whole.jsonl", {"a": TEXTS["a"], **changed})
    index_documents([whole], tmp_path / "at-once", IndexConfig(), embed=model)
    assert ranked(index) == ranked(tmp_path / "at-once")
    assert len(ranked(index)) == 3


def test_vectors_are_given_to_an_index_that_had_none(index: Path, model: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    index_documents([tmp_path / "d.jsonl"], later, IndexConfig())
    with pytest.raises(MissingError, match="has no vectors"):
        ranked(later)
    assert index_documents([], later, IndexConfig(), add=True, embed=model).embedded == 3
    assert index_documents([], later, IndexConfig(), add=True, embed=model).embedded == 0
    assert ranked(later) == ranked(index)


def test_another_model_is_refused_and_changes_nothing(
    index: Path, spelled_model: Build, tmp_path: Path
) -> None:
    other = spelled_model("other", num_hidden_layers=1)
    before = index.read_bytes()
    more = documents(tmp_path / "more.jsonl", {"d": "A dog barks."})
    with pytest.raises(DataError, match=r"other: not the model that .* has its vectors from"):
        index_documents([more], index, IndexConfig(), add=True, embed=other)
    with pytest.raises(DataError, match="not the model"):
        ranked(index, embed=other)
    assert index.read_bytes() == before


def test_a_model_that_moved_is_named_and_known_again(index: Path, model: Path, tmp_path: Path) -> None:
    known = ranked(index)
    shutil.move(model, tmp_path / "moved")
    with pytest.raises(MissingError, match="not there any more") as caught:
        ranked(index)
    assert caught.value.hint == "say where it is now: --embed MODEL"
    assert ranked(index, embed=tmp_path / "moved") == known


def test_taking_documents_out_needs_no_model(index: Path, model: Path) -> None:
    shutil.rmtree(model)
    assert index_documents([], index, IndexConfig(), delete=("a",)).passages == 2
    assert sqlite3.connect(index).execute("SELECT count(*) FROM vectors").fetchone() == (2,)
