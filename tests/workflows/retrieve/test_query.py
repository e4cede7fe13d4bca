"""Queries from files, and what is found for them."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import DataError
from llmkit.formats.jsonl import BadLine
from llmkit.retrieve.config import IndexConfig
from llmkit.retrieve.hits import Hit
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.query import Query, answer_queries, find_documents, read_queries
from llmkit.workflows.retrieve.search import SearchOptions, open_search


def test_queries_are_read_from_jsonl_by_the_first_known_key_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"text": "t", "question": "q", "n": 1}\n{"prompt": "p"}\n')
    assert [one.text for one in read_queries(path, None)] == ["q", "p"]
    bad: list[BadLine] = []
    assert [one.text for one in read_queries(path, "text", on_bad=bad.append)] == ["t"]
    assert [one.number for one in bad] == [2]
    assert bytes(next(read_queries(path, None)).record["n"]) == b"1"


def test_a_conversation_asks_what_its_user_said_last(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    talk = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    path.write_text(
        json.dumps({"messages": talk}) + "\n" + json.dumps({"messages": talk, "text": "t"}) + "\n"
    )
    assert [one.text for one in read_queries(path, None)] == ["one", "t"]
    assert [one.text for one in read_queries(path, "messages")] == ["one", "one"]
    path.write_text('{"messages": []}\n{"id": 1}\n')
    bad: list[BadLine] = []
    assert list(read_queries(path, "messages", on_bad=bad.append)) == []
    assert [one.problem for one in bad] == [
        "no user says anything in its messages",
        'no "messages" field (found: id)',
    ]


def test_plain_lines_are_queries_and_blank_ones_are_none(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_text("one two\n\n three \n")
    assert list(read_queries(path, None)) == [
        Query("one two", {"query": msgspec.Raw(b'"one two"')}, f"{path}:1"),
        Query("three", {"query": msgspec.Raw(b'"three"')}, f"{path}:3"),
    ]


@pytest.mark.parametrize("content", [b"one two\n\nthree\n", b'{"query": "one two"}\n{"text": "three"}\n'])
def test_a_pipe_holds_what_it_begins_with(piped: Callable[[bytes], Path], content: bytes) -> None:
    assert [one.text for one in read_queries(piped(content), None)] == ["one two", "three"]


def test_a_plain_line_that_is_not_utf_8_is_named_or_passed_over_and_a_byte_order_mark_is_no_query(
    tmp_path: Path,
) -> None:
    path = tmp_path / "q.txt"
    path.write_bytes("\ufeffone\n".encode() + b"caf\xe9\ntwo\n")
    with pytest.raises(DataError, match=r"q.txt:2: not UTF-8 \(found byte 0xe9 at offset 3\)"):
        list(read_queries(path, None))
    bad: list[BadLine] = []
    assert [one.text for one in read_queries(path, None, on_bad=bad.append)] == ["one", "two"]
    assert [(one.content, one.file, one.number) for one in bad] == [(b"caf\xe9\n", str(path), 2)]


def test_a_record_without_a_query_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": 1}\n')
    with pytest.raises(DataError, match=r'q.jsonl:1: no "query"'):
        list(read_queries(path, None))


def test_a_hit_is_a_slice_of_its_document_and_its_id_says_which(tmp_path: Path) -> None:
    text = "# One\nant bee\n\n# Two\nfox eel\n" * 3
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": "d", "text": text}) + "\n")
    index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig(chunk=6, overlap=0))
    with open_index(tmp_path / "i") as store:
        ((query, hits),) = answer_queries(
            [Query("fox", {})], open_search(store, SearchOptions(), Path("i")), most=2
        )
    assert query.text == "fox"
    assert len(hits) == 2
    for hit in hits:
        assert text[hit.start : hit.end] == hit.text
        assert hit.id == f"d:{hit.start}-{hit.end}"
        assert "fox" in hit.text
        assert hit.heading == "Two"


def test_so_many_documents_are_found_however_many_passages_one_of_them_has() -> None:
    documents = [*["book"] * 300, "a", "book", "b", "c"]
    hits = [
        Hit(id=str(place), score=-place, document=name, start=0, end=1, text="")
        for place, name in enumerate(documents)
    ]
    for most, expected in ((1, ["book"]), (3, ["book", "a", "b"]), (9, ["book", "a", "b", "c"])):
        assert find_documents("x", lambda _, passages: hits[:passages], most=most) == expected
    assert find_documents("x", lambda *_: [], most=3) == []
