"""Making an index and bringing it up to date."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Raw

from llmkit.errors import ConfigError, DataError, MissingError, UsageError
from llmkit.retrieve.config import IndexConfig
from llmkit.workflows.retrieve.embedding import EmbedOptions
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.query import Query, answer_queries
from llmkit.workflows.retrieve.search import SearchOptions, open_search

ANTS = {"id": "ants", "text": "# Ants\n" + "An ant carries leaves. " * 20, "metadata": {"license": "MIT"}}
BEES = {"id": "bees", "text": "A bee makes honey.", "source": "zoo"}


def write(path: Path, *records: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def ids(index: Path, query: str) -> list[str]:
    with open_index(index) as store:
        ((_, hits),) = answer_queries(
            [Query(query, {})], open_search(store, SearchOptions(), Path("i")), most=9
        )
        return [hit.id for hit in hits]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "index"
    index_documents([write(tmp_path / "docs.jsonl", ANTS, BEES)], path, IndexConfig())
    return path


def test_the_report_counts_what_is_there(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs.jsonl", ANTS, BEES)
    report = index_documents([docs], tmp_path / "index", IndexConfig(chunk=32, overlap=8))
    assert (report.added, report.documents, report.unchanged, report.deleted) == (2, 2, 0, 0)
    assert report.passages == len(ids(tmp_path / "index", "ant")) + len(ids(tmp_path / "index", "bee")) > 3
    assert report.text_bytes == len(ANTS["text"]) + len(BEES["text"])  # type: ignore[arg-type]
    assert report.size_bytes == (tmp_path / "index").stat().st_size


def test_adding_leaves_equal_texts_alone_and_puts_new_ones_in_place_of_old(
    index: Path, tmp_path: Path
) -> None:
    new = {**BEES, "text": "A bee makes wax."}
    more = write(tmp_path / "more.jsonl", ANTS, new, {"id": "cats", "text": "A cat sleeps."})
    report = index_documents([more], index, IndexConfig(), add=True)
    assert (report.added, report.unchanged, report.documents) == (2, 1, 3)
    assert ids(index, "honey") == []
    assert ids(index, "wax") == ["bees:0-16"]
    assert ids(index, "sleeps") == ["cats:0-13"]


def test_other_keys_beside_an_equal_text_take_the_place_of_the_old_and_vectors_stay(
    tmp_path: Path, spelled_model: Callable[..., Path]
) -> None:
    docs, index = write(tmp_path / "docs.jsonl", ANTS, BEES), tmp_path / "index"
    index_documents([docs], index, IndexConfig(), embed=EmbedOptions(model=spelled_model()))
    before = ids(index, "honey")
    write(docs, ANTS, {**BEES, "source": "farm", "metadata": {"license": "CC0"}})
    report = index_documents([docs], index, IndexConfig(), add=True)
    assert (report.added, report.updated, report.unchanged, report.embedded) == (0, 1, 1, 0)
    with open_index(index) as store:
        (hit,) = open_search(store, SearchOptions(), index)("honey", 9)
        assert (hit.source, hit.metadata) == (Raw(b'"farm"'), Raw(b'{"license": "CC0"}'))
        assert (
            store.database.execute("SELECT number FROM passages EXCEPT SELECT number FROM vectors").fetchall()
            == []
        )
    assert ids(index, "honey") == before
    report = index_documents([docs], index, IndexConfig(), add=True)
    assert (report.updated, report.unchanged) == (0, 2)


def test_of_one_id_twice_in_what_is_added_the_last_counts_and_a_new_index_keeps_the_first(
    tmp_path: Path,
) -> None:
    docs = write(tmp_path / "docs.jsonl", BEES, {**BEES, "source": "farm"})
    found = []
    for index, add in ((tmp_path / "new", False), (tmp_path / "new", True)):
        index_documents([docs], index, IndexConfig(), add=add)
        with open_index(index) as store:
            found.append(open_search(store, SearchOptions(), index)("honey", 1)[0].source)
    assert found == [Raw(b'"zoo"'), Raw(b'"farm"')]


def test_what_is_deleted_is_not_found_and_a_wrong_name_changes_nothing(index: Path) -> None:
    with pytest.raises(MissingError, match="dogs"):
        index_documents([], index, IndexConfig(), delete=("bees", "dogs"))
    assert ids(index, "honey") == ["bees:0-18"]
    assert index_documents([], index, IndexConfig(), delete=("bees",)).documents == 1
    assert ids(index, "honey") == []


def test_an_index_keeps_its_own_cut_when_it_grows(tmp_path: Path) -> None:
    index = tmp_path / "index"
    index_documents([write(tmp_path / "a.jsonl", BEES)], index, IndexConfig(chunk=16, overlap=4))
    index_documents([write(tmp_path / "b.jsonl", ANTS)], index, IndexConfig(chunk=200, overlap=0), add=True)
    with open_index(index) as store:
        ((_, hits),) = answer_queries(
            [Query("ant", {})], open_search(store, SearchOptions(), Path("i")), most=99
        )
    assert all(hit.end - hit.start <= 64 for hit in hits)


def test_another_cut_than_the_indexs_own_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    docs, index = write(tmp_path / "a.jsonl", BEES), tmp_path / "index"
    index_documents([docs], index, IndexConfig(chunk=16, overlap=4))
    for given in (("chunk",), ("overlap",)):
        with pytest.raises(UsageError, match=rf"--{given[0]} .*: .*index has --{given[0]}"):
            index_documents([docs], index, IndexConfig(chunk=8, overlap=2), given=given, add=True)
    same = IndexConfig(chunk=16, overlap=4)
    assert index_documents([docs], index, same, given=("chunk", "overlap"), add=True).unchanged == 1


def test_a_tokenizer_measures_and_another_is_refused(
    index: Path, byte_level_dir: Path, tmp_path: Path
) -> None:
    docs = tmp_path / "docs.jsonl"
    own = tmp_path / "own"
    report = index_documents([docs], own, IndexConfig(chunk=16, overlap=0), tokenizer=byte_level_dir)
    assert report.passages > 3
    with pytest.raises(DataError, match="a tokenizer"):
        index_documents([docs], own, IndexConfig(), add=True)
    with pytest.raises(DataError, match="without"):
        index_documents([docs], index, IndexConfig(), add=True, tokenizer=byte_level_dir)
    again = index_documents([docs], own, IndexConfig(), add=True, tokenizer=byte_level_dir / "tokenizer.json")
    assert again.unchanged == 2


def test_one_id_with_two_texts_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs.jsonl", BEES, {**BEES, "text": "other"})
    with pytest.raises(DataError, match=r"docs.jsonl:2: a second document with the id 'bees'"):
        index_documents([docs], tmp_path / "index", IndexConfig())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["docs.jsonl"]


def test_an_index_that_is_there_and_a_cut_that_is_none_are_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already exists"):
        index_documents([], index, IndexConfig())
    with pytest.raises(ConfigError, match="overlap"):
        index_documents([], tmp_path / "new", IndexConfig(chunk=8, overlap=4))


def test_other_keys_come_back_with_a_hit_and_plain_files_are_their_own_source(
    index: Path, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("A dog barks.")
    index_documents([tmp_path / "note.txt"], index, IndexConfig(), add=True)
    with open_index(index) as store:
        queries = [Query("leaves", {}), Query("honey", {}), Query("barks", {})]
        hits = [
            found[0]
            for _, found in answer_queries(queries, open_search(store, SearchOptions(), Path("i")), most=1)
        ]
    assert bytes(hits[0].metadata or b"") == b'{"license": "MIT"}'
    assert hits[0].heading == "Ants"
    assert bytes(hits[1].source or b"") == b'"zoo"'
    assert json.loads(bytes(hits[2].source or b"")) == str(tmp_path / "note.txt")
