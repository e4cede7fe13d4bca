"""Counts laid out by hand: a byte is a token here, so every figure can be read off the text."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from llmkit.formats.documents import Document
from llmkit.workflows.tokenize.count import escape_tsv, write_counts
from llmkit.workflows.tokenize.run import Run

MakeRun = Callable[..., Run]


def _records(file: str, *texts: str) -> list[Document]:
    return [Document(f"{file}{line}", text, file, line) for line, text in enumerate(texts, 1)]


def _written(run: Run, *names: str) -> bytes:
    write_counts(run, names)
    content: bytes = run.stream.getvalue()  # type: ignore[attr-defined]
    return content


def _rows(run: Run, *names: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _written(run, *names).splitlines()]


def test_columns_are_as_wide_as_wcs_and_a_total_ends_them(make_run: MakeRun) -> None:
    run = make_run("héllo", "x" * 1_234_567, bos=True)
    assert _written(run, "0.txt", "1.txt").decode() == (
        "        7          6 0.txt\n"
        "  1234568    1234567 1.txt\n"
        "  1234575    1234573 total\n"
    )  # fmt: skip


def test_one_row_needs_no_total_and_a_text_has_no_name(make_run: MakeRun) -> None:
    assert _written(make_run("abc"), "0.txt") == b"        3          3 0.txt\n"
    assert _written(make_run(Document("i", "abc", "", 0))) == b"        3          3\n"
    assert _written(make_run(), "0.txt") == b"        0          0 0.txt\n"


def test_a_price_is_a_column_and_the_total_costs_what_all_do(make_run: MakeRun) -> None:
    run = make_run("ab", "x" * 1500, prices=(0.15,))
    # 2, 1500 and 1502 tokens at 0.15 a million
    assert _written(run, "0.txt", "1.txt").decode() == (
        "        2          2     0.000000 0.txt\n"
        "     1500       1500     0.000225 1.txt\n"
        "     1502       1502     0.000225 total\n"
    )


def test_the_gate_looks_at_the_largest_document_and_lets_the_limit_itself_pass(make_run: MakeRun) -> None:
    run = make_run(*_records("a", "xxxx", "x" * 1005, "xxxxx"), *_records("b", "xxxxx"), max_tokens=5)
    assert _written(run, "a", "b").decode().splitlines()[:2] == [
        "     1014       1014 a  over by 1,000",
        "        5          5 b",
    ]
    assert run.failures == ["a:2 (1,005)"]
    run = make_run(*_records("a", "xxxx", "x" * 8), max_tokens=5, row_format="jsonl", per_record=True)
    assert [row["over_tokens"] for row in _rows(run)] == [0, 3]
    run = make_run(*_records("a", "xxxx", "x" * 8), max_tokens=5, row_format="tsv")
    assert _written(run, "a") == b"12\t12\t3\ta\n"


def test_files_without_a_record_have_their_row_of_zeros_in_their_place(make_run: MakeRun) -> None:
    documents = [*_records("b", "xx", "x"), *_records("d", "xxxx")]
    rows = _rows(make_run(*documents, row_format="jsonl"), "a", "b", "c", "d", "e")
    assert [(row["file"], row["documents"], row["tokens"]) for row in rows] == [
        *(("a", 0, 0), ("b", 2, 3), ("c", 0, 0), ("d", 1, 4), ("e", 0, 0))
    ]


def test_a_file_named_twice_has_two_rows(make_run: MakeRun) -> None:
    twice = [*_records("a", "x", "xx"), *_records("a", "x", "xx")]
    assert [row["tokens"] for row in _rows(make_run(*twice, row_format="jsonl"), "a", "a")] == [3, 3]
    plain = [Document("p", "xx", "p", 0)] * 3
    assert [row["tokens"] for row in _rows(make_run(*plain, row_format="jsonl"), "p", "p", "p")] == [2] * 3


def test_each_record_can_be_a_row_that_names_its_line(make_run: MakeRun) -> None:
    documents = _records("a", "é", "xx")
    assert _written(make_run(*documents, per_record=True)).decode() == (
        "        2          2 a:1\n"
        "        2          2 a:2\n"
        "        4          4 total\n"
    )  # fmt: skip
    (first, _) = _rows(make_run(*documents, per_record=True, row_format="jsonl", prices=(1.0,)))
    assert first == {
        **{"id": "a1", "file": "a", "line": 1, "documents": 1, "tokens": 2, "bytes": 2},
        "cost": 2e-6,
    }


def test_json_is_one_object_with_rows_and_a_total_that_is_no_file(make_run: MakeRun) -> None:
    run = make_run("ab", "c", row_format="json", prices=(10.0,), max_tokens=1)
    assert json.loads(_written(run, "0.txt", "1.txt")) == {
        "schema": "llmkit.tokenize/1",
        "rows": [
            {"file": "0.txt", "documents": 1, "tokens": 2, "bytes": 2, "cost": 2e-5, "over_tokens": 1},
            {"file": "1.txt", "documents": 1, "tokens": 1, "bytes": 1, "cost": 1e-5, "over_tokens": 0},
        ],
        "total": {"documents": 2, "tokens": 3, "bytes": 3, "cost": 3e-5},
    }


def test_a_file_name_that_is_not_utf8_keeps_its_bytes_on_one_line_and_is_told_in_json(
    make_run: MakeRun,
) -> None:
    name = os.fsdecode(b"caf\xe9\t1\n")
    document = Document("i", "ab", name, 0)
    assert _written(make_run(document), name) == b"        2          2 caf\xe9\\x091\\x0a\n"
    assert _written(make_run(document, row_format="tsv"), name) == b"2\t2\tcaf\xe9\\t1\\n\n"
    assert _rows(make_run(document, row_format="jsonl"), name)[0]["file"] == "caf\\xe9\t1\n"
    assert _rows(make_run(document, row_format="jsonl", per_record=True))[0]["file"] == "caf\\xe9\t1\n"


@pytest.mark.parametrize("cell", [b"", b"a\tb", b"a\\tb", b"\\", b"line\nfeed\\n\t", b"\xff"])
def test_an_escaped_cell_is_one_cell_of_one_row_and_comes_back(cell: bytes) -> None:
    escaped = escape_tsv(cell)
    assert b"\t" not in escaped and b"\n" not in escaped
    pairs = {b"\\\\": b"\\", b"\\t": b"\t", b"\\n": b"\n"}
    back, place = b"", 0
    while place < len(escaped):
        width = 2 if escaped[place : place + 2] in pairs else 1
        back += pairs.get(escaped[place : place + width], escaped[place : place + width])
        place += width
    assert back == cell
