"""Parquet rows beside pyarrow's own reading of the whole table."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.documents import document_of
from llmkit.formats.jsonl import BadLine
from llmkit.formats.parquet import is_parquet, read_parquet
from llmkit.formats.streams import STDIO

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = [
    {
        "id": f"d{number}",
        "text": f"Text number {number} – naïve. " * (1 + number % 7),
        "metadata": {"license": "MIT", "tags": ["a", "b"], "score": 0.5 * number},
        "when": datetime.datetime(2024, 4, 25, 16, 24, number % 60, tzinfo=datetime.UTC),
        "n": number if number % 3 else None,
    }
    for number in range(250)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    out = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), out, row_group_size=60, compression="zstd")
    return out


def test_rows_are_what_the_same_rows_are_as_jsonl(path: Path) -> None:
    lines = list(read_parquet(path))
    table = parquet.read_table(path).to_pylist()
    assert [json.loads(msgspec.json.encode(line.record)) for line in lines] == [
        json.loads(msgspec.json.encode(row)) for row in table
    ]
    assert [line.number for line in lines] == list(range(1, 251))
    assert document_of(lines[3]).text == ROWS[3]["text"]
    assert msgspec.json.decode(lines[3].record["when"]) == "2024-04-25T16:24:03Z"


def test_not_a_number_is_null(tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"x": [float("nan"), 1.5], "b": [b"\xff", b""]}), out)
    assert [{key: bytes(value) for key, value in line.record.items()} for line in read_parquet(out)] == [
        {"x": b"null", "b": b'"/w=="'},
        {"x": b"1.5", "b": b'""'},
    ]


def test_what_is_no_parquet_is_named(tmp_path: Path, path: Path) -> None:
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"bad.parquet: not a parquet file"):
        list(read_parquet(bad))
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    bad.write_bytes(content)
    with pytest.raises(DataError, match=r"bad.parquet: not a parquet file, or a damaged one"):
        list(read_parquet(bad))
    with pytest.raises(MissingError):
        list(read_parquet(tmp_path / "none.parquet"))
    with pytest.raises(UsageError, match="cannot be piped"):
        list(read_parquet(STDIO))
    assert is_parquet(Path("a.PARQUET")) and not is_parquet(Path("a.jsonl"))


def test_a_text_of_bytes_is_its_utf_8_and_a_row_without_any_is_named(tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    texts = pyarrow.array(["caf\u00e9".encode(), b"two \xff", None, b"last"], pyarrow.binary())
    parquet.write_table(pyarrow.table({"id": list("abcd"), "body": texts, "b": texts}), out)
    with pytest.raises(DataError, match=r'a\.parquet:2: "body" is not UTF-8 \(found byte 0xff at 4\)'):
        list(read_parquet(out, text_field="body"))
    seen: list[BadLine] = []
    lines = list(read_parquet(out, text_field="body", on_bad=seen.append))
    found = [msgspec.json.decode(line.record["body"]) for line in lines]
    assert found == ["caf\u00e9", None, "last"] and [line.number for line in lines] == [1, 3, 4]
    assert msgspec.json.decode(lines[2].record["b"]) == "bGFzdA=="
    assert [(one.number, json.loads(one.content)["id"]) for one in seen] == [(2, "b")]


def test_a_string_that_is_not_utf_8_makes_its_row_a_bad_one(tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    names = pyarrow.StringArray.from_buffers(
        2, *pyarrow.array([b"\xff\xfe", b"ok"], pyarrow.binary()).buffers()[1:]
    )
    parquet.write_table(pyarrow.table({"text": ["x", "y"], "name": names}), out)
    with pytest.raises(DataError, match=r'a\.parquet:1: "name" is not UTF-8'):
        list(read_parquet(out))
    seen: list[BadLine] = []
    assert [line.number for line in read_parquet(out, on_bad=seen.append)] == [2]
    assert json.loads(seen[0].content) == {"text": "x"}


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_rows_of_arrow_are_those_of_the_same_table_as_parquet(tmp_path: Path, path: Path, kind: str) -> None:
    out = tmp_path / "data-00000-of-00001.arrow"
    table = pyarrow.Table.from_pylist(ROWS)
    make = pyarrow.ipc.new_file if kind == "file" else pyarrow.ipc.new_stream  # datasets saves streams
    with make(str(out), table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    assert is_parquet(out)
    arrow, plain = ([(one.record, one.number) for one in read_parquet(file)] for file in (out, path))
    assert [({key: bytes(value) for key, value in one.items()}, number) for one, number in arrow] == [
        ({key: bytes(value) for key, value in one.items()}, number) for one, number in plain
    ]
    out.write_bytes(out.read_bytes()[: out.stat().st_size // 2])
    with pytest.raises(DataError, match="not an Arrow file, or a damaged one"):
        list(read_parquet(out))


def test_a_large_batch_of_arrow_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmkit.formats import parquet as tables

    seen: list[int] = []

    def rows_of(batch: Any) -> Iterator[tuple[dict[str, Any], None]]:
        seen.append(batch.num_rows)
        yield from (({"n": number}, None) for number in batch.column(0).to_pylist())

    monkeypatch.setattr(tables, "BATCH_ROWS", 100)
    monkeypatch.setattr(tables, "rows_of", rows_of)
    table = pyarrow.table({"n": list(range(250))})
    with pyarrow.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    found = [int(bytes(line.record["n"])) for line in read_parquet(tmp_path / "a.arrow")]
    assert (found, seen) == (list(range(250)), [100, 100, 50])
