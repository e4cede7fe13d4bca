"""Documents as dedup reads them."""

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import DataError
from llmkit.formats.documents import Document
from llmkit.formats.json_text import printable
from llmkit.formats.jsonl import BadLine
from llmkit.formats.streams import STDIO
from llmkit.workflows.dedup.read import (
    good_documents,
    group_pieces,
    read_pieces,
    source_of,
    spool_streams,
    value_at,
)
from llmkit.workflows.units import Piece, split_inputs


def test_pieces_of_a_file_give_its_documents_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"id": n, "text": f"text {n}"}) + "\n\n" for n in range(50)))
    found = list(read_pieces(split_inputs([path], unit_bytes=300), field="text", skips_bad=False))
    assert [(one.id, one.line) for one in found if isinstance(one, Document)] == [
        (str(n), 2 * n + 1) for n in range(50)
    ]


def test_a_record_without_text_is_named_or_passed_on_as_bad(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n{"id": "2"}\n{"text": 3}\n')
    pieces = [Piece(str(path))]
    first, *bad = read_pieces(pieces, field="text", skips_bad=True)
    assert list(good_documents(pieces, field="text", skips_bad=True)) == [first]
    assert isinstance(first, Document) and len(first.id) == 16
    assert [one.number for one in bad if isinstance(one, BadLine)] == [2, 3]
    assert isinstance(bad[0], BadLine) and bad[0].problem.startswith('no "text" field')
    with pytest.raises(DataError, match=r"in\.jsonl:2: no \"text\" field"):
        list(read_pieces(pieces, field="text", skips_bad=False))


@pytest.mark.parametrize(("content", "ids"), [(b'{"id": "a", "text": "x"}\n', ["a"]), (b"plain text", None)])
def test_stdin_is_spooled_and_said_to_be_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, ids: list[str] | None
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    spools = spool_streams([STDIO], tmp_path, "text")
    (document,) = read_pieces(split_inputs([STDIO], spools=spools), field="text", skips_bad=False)
    assert isinstance(document, Document) and document.file == "stdin" and source_of(document) == "stdin"
    assert ids is None or [document.id] == ids


def test_a_pipe_is_read_once_into_a_file_that_is_called_as_the_pipe(
    piped: Callable[[bytes], Path], tmp_path: Path
) -> None:
    pipe, plain = piped(b'{"id": "a", "text": "x"}\n'), tmp_path / "plain.jsonl"
    spools = spool_streams([pipe, plain], tmp_path, "text")
    assert list(spools) == [pipe]
    for _ in range(2):
        (document,) = read_pieces(split_inputs([pipe], spools=spools), field="text", skips_bad=False)
        assert isinstance(document, Document) and (document.id, document.file) == ("a", str(pipe))


@pytest.mark.parametrize("name", [b"caf\xe9", ("\u732b" * 80).encode()])
def test_pipes_of_any_names_are_read_and_named(tmp_path: Path, name: bytes) -> None:
    pipe = tmp_path / os.fsdecode(name)
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", 'echo "{}" > "$1"', "sh", pipe]):
        spools = spool_streams([pipe], tmp_path, "text")
    (bad,) = read_pieces(split_inputs([pipe], spools=spools), field="text", skips_bad=True)
    assert isinstance(bad, BadLine) and bad.file == printable(str(pipe))


def test_a_file_is_called_by_its_name_whatever_that_is(tmp_path: Path) -> None:
    for name in ("best-of-dedup.jsonl", "stream-0.jsonl"):
        (tmp_path / name).write_text("no json\n")
        (bad,) = read_pieces([Piece(str(tmp_path / name))], field="text", skips_bad=True)
        assert isinstance(bad, BadLine) and bad.file == str(tmp_path / name)


def test_values_are_found_at_dotted_paths() -> None:
    record = {"metadata": msgspec.Raw(b'{"a": {"b": [1]}}'), "x": msgspec.Raw(b"2")}
    assert value_at(record, "metadata.a.b") == [1] and value_at(record, "x") == 2
    assert [value_at(record, path) for path in ("y", "x.y", "metadata.b", "metadata.a.b.c")] == [None] * 4


def test_a_value_that_cannot_be_decoded_is_an_error_of_the_data() -> None:
    with pytest.raises(DataError, match="nested too deeply"):
        value_at({"x": msgspec.Raw(b"[" * 20_000 + b"]" * 20_000)}, "x")


@pytest.mark.parametrize(
    "bad", [b'{"text": "x", "source": "\xff"}', b'{"id": "a", "text": "x", "k": ["\xff"]}']
)
def test_bytes_that_are_no_utf_8_anywhere_make_a_bad_line(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(bad + '\n{"text": "é"}\n'.encode())
    first, second = read_pieces([Piece(str(path))], field="text", skips_bad=True)
    assert isinstance(first, BadLine) and first.number == 1 and first.problem.startswith("not UTF-8")
    assert isinstance(second, Document)
    with pytest.raises(DataError, match=r"in\.jsonl:1: not UTF-8 \(found byte 0xff"):
        list(read_pieces([Piece(str(path))], field="text", skips_bad=False))


def test_small_files_share_a_unit(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("x" * 10)
    pieces = split_inputs(sorted(tmp_path.iterdir()))
    assert [len(group) for group in group_pieces(pieces, 25)] == [2, 2, 1]
    assert group_pieces([], 25) == []
