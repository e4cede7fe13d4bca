"""What is read: every document's text once, under the name of its source."""

import gzip
import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from llmkit.errors import DataError, MissingError
from llmkit.formats.jsonl import BadLine
from llmkit.formats.streams import STDIO, input_name
from llmkit.workflows.train_tokenizer.input import Reading, is_compressed, read_parts

RECORDS = [
    {"text": "one", "source": "web"},
    {"text": "two grüße", "source": "books", "id": "b"},
    {"text": "three", "source": 3},
    {"text": "", "source": "web"},
]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


def _read(*paths: Path, reading: Reading | None = None, field: str = "text") -> list[tuple[str, str]]:
    parts = read_parts(paths, reading or Reading(), text_field=field, on_bad=None)
    return [(part.source, part.text) for part in parts]


def test_records_have_their_own_source_or_the_inputs_name(tmp_path: Path) -> None:
    file = tmp_path / "docs.jsonl"
    file.write_bytes(LINES)
    reading = Reading()
    assert _read(file, reading=reading) == [("web", "one"), ("books", "two grüße"), (str(file), "three")]
    assert reading.documents == 4
    assert reading.bytes == 3 + 11 + 5
    assert (reading.sources["web"].documents, reading.sources["web"].bytes) == (2, 3)


def test_a_folder_is_one_source_of_several_documents(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.txt").write_text("bb")
    (folder / "inner" / "a.md").write_text("aa")
    (folder / ".hidden").write_text("no")
    reading = Reading()
    assert _read(folder, reading=reading) == [(str(folder), "bb"), (str(folder), "aa")]
    assert reading.sources[str(folder)].documents == 2


def test_compressed_files_are_read_and_known(tmp_path: Path) -> None:
    contents = {
        "a.jsonl": LINES,
        "b.jsonl.zst": zstandard.ZstdCompressor().compress(LINES),
        "c.jsonl.gz": gzip.compress(LINES),
        "d.txt.gz": gzip.compress(b"plain"),
        "e.txt": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in ("b.jsonl.zst", "c.jsonl.gz"):
        assert [text for _, text in _read(tmp_path / name)] == ["one", "two grüße", "three"]
    assert _read(tmp_path / "d.txt.gz") == [(str(tmp_path / "d.txt.gz"), "plain")]
    assert [name for name in contents if is_compressed(tmp_path / name)] == [
        *("b.jsonl.zst", "c.jsonl.gz", "d.txt.gz"),
    ]


@pytest.mark.parametrize("content", [b"plain text", LINES, zstandard.ZstdCompressor().compress(LINES)])
def test_stdin_is_told_by_its_content_and_digested(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    reading = Reading()
    read = _read(STDIO, reading=reading)
    texts = [text for _, text in read]
    assert texts == (["plain text"] if content == b"plain text" else ["one", "two grüße", "three"])
    assert reading.streams == {"stdin": hashlib.sha256("".join(texts).encode()).hexdigest()}
    assert read[-1][0] == input_name(STDIO) == "stdin"


def test_a_pipe_is_told_by_its_content_and_digested_as_stdin_is(piped: Callable[[bytes], Path]) -> None:
    pipe, reading = piped(LINES), Reading()
    texts = [text for _, text in _read(pipe, reading=reading)]
    assert texts == ["one", "two grüße", "three"]
    assert reading.streams == {str(pipe): hashlib.sha256("".join(texts).encode()).hexdigest()}


def test_a_byte_order_mark_does_not_make_a_text_of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"\xef\xbb\xbf" + LINES
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    assert [text for _, text in _read(STDIO)] == ["one", "two grüße", "three"]


def test_rows_of_parquet_are_read_as_the_same_records_are(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    rows = [record for record in RECORDS if isinstance(record["source"], str)]
    pytest.importorskip("pyarrow.parquet").write_table(
        pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet"
    )
    assert _read(tmp_path / "a.parquet") == [("web", "one"), ("books", "two grüße")]


def test_another_field_can_hold_the_text(tmp_path: Path) -> None:
    file = tmp_path / "docs.jsonl"
    file.write_text('{"body": "here"}\n')
    assert _read(file, field="body") == [(str(file), "here")]
    with pytest.raises(DataError, match=r"docs.jsonl:1: no \"text\" field \(found: body\)"):
        _read(file)


def test_bad_lines_go_where_they_are_asked_to(tmp_path: Path) -> None:
    lines, plain = tmp_path / "docs.jsonl", tmp_path / "a.txt"
    lines.write_bytes(b'{"text": "a"}\n{"text": \n{"text": 5}\n{"text": "b"}\n')
    plain.write_bytes(b"good\nb\xe4d\n")
    bad: list[BadLine] = []
    parts = read_parts([lines, plain], Reading(), text_field="text", on_bad=bad.append)
    assert [part.text for part in parts] == ["a", "b", "good\n"]
    assert [(one.file, one.number) for one in bad] == [(str(lines), 2), (str(lines), 3), (str(plain), 2)]
    assert bad[1].problem.startswith('"text": ')  # its place is told beside it
    for path in (lines, plain):
        with pytest.raises(DataError, match=":2: "):
            _read(path)


def test_a_long_document_comes_in_parts_and_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("some words " * 10_000)
    reading = Reading()
    parts = _read(file, reading=reading)
    assert len(parts) > 10 and "".join(text for _, text in parts) == "some words " * 10_000
    assert (reading.documents, reading.bytes) == (1, 110_000)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nowhere"):
        _read(tmp_path / "nowhere")
