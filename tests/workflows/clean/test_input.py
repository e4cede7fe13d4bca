"""Batches: every line once and in order with its number, however the bytes come; other files as records."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from llmkit.errors import DataError, UsageError
from llmkit.formats.digest import content_id
from llmkit.formats.documents import read_documents
from llmkit.workflows.clean import input as clean_input
from llmkit.workflows.clean.input import Batch, Entry, kind_of, read_batches
from llmkit.workflows.units import Piece, split_inputs

LINES = [b'{"text":"%s"}' % (b"x" * (n % 50)) for n in range(300)]


def entries(paths: list[Path], **settings: object) -> list[Entry]:
    batches = read_batches([Piece(str(path)) for path in paths], **settings)  # type: ignore[arg-type]
    return [entry for batch in batches for entry in batch]


def texts(found: list[Entry]) -> list[str]:
    return [json.loads(entry.content)["text"] for entry in found]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n \n"])
@pytest.mark.parametrize("is_last_ended", [True, False])
def test_lines_come_once_and_in_order_with_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: bytes, is_last_ended: bool
) -> None:
    monkeypatch.setattr(clean_input, "BATCH_BYTES", 200)
    path = tmp_path / "a.jsonl"
    path.write_bytes(ending.join(LINES) + (ending if is_last_ended else b""))
    found = entries([path])
    assert [entry.content.strip() for entry in found] == LINES
    expected = [n for n, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()]
    assert [entry.line for entry in found] == expected


def test_a_byte_order_mark_is_no_part_of_the_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"\xef\xbb\xbf" + b"\n".join(LINES)
    (tmp_path / "a.jsonl").write_bytes(content)
    assert [entry.content for entry in entries([tmp_path / "a.jsonl"])] == LINES
    pieces = split_inputs([tmp_path / "a.jsonl"], unit_bytes=1000)
    assert [entry.content for batch in read_batches(pieces) for entry in batch] == LINES and len(pieces) > 1
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    assert [entry.content for entry in entries([Path("-")])] == LINES


def test_parquet_on_stdin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"PAR1" + b"x" * 99))))
    with pytest.raises(UsageError, match="stdin: parquet cannot be piped"):
        entries([Path("-")])


def test_a_line_longer_than_a_batch_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_input, "BATCH_BYTES", 100)
    path = tmp_path / "a.jsonl.zst"
    lines = [LINES[3], b'{"text":"%s"}' % (b"y" * 5000), LINES[4]]
    path.write_bytes(zstandard.compress(b"\n".join(lines)))
    assert [entry.content for entry in entries([path])] == lines


def test_pieces_of_a_file_have_its_lines_with_the_numbers_they_have_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(LINES))
    found = [entry for batch in read_batches(split_inputs([path], unit_bytes=700)) for entry in batch]
    assert [(entry.content, entry.line) for entry in found] == [(line, n) for n, line in enumerate(LINES, 1)]


def test_a_batch_is_what_a_slow_pipe_has_given_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    class Slow(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            content = LINES[len(written)] + b"\n" if len(written) < 5 else b""
            written.append(content)
            buffer[: len(content)] = content
            return len(content)

    from contextlib import contextmanager

    @contextmanager
    def opened(path: Path) -> Iterator[io.BufferedReader]:
        yield io.BufferedReader(Slow())

    monkeypatch.setattr(clean_input, "open_input", opened)
    monkeypatch.setattr(clean_input, "would_wait", lambda path: True)
    seen = []
    for number, batch in enumerate(read_batches([Piece("-")])):
        seen += [entry.content for entry in batch]
        assert len(written) == number + 1  # no line waits for the next
    assert seen == LINES[:5]


def test_texts_pages_and_jsonl_mix_in_order_with_names_as_ids(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\n")
    (tmp_path / "b.jsonl").write_bytes(b'{"id":"b","text":"two"}\n')
    (tmp_path / "c.md").write_text("three")
    (tmp_path / "d.html").write_text("<p>four</p>")
    paths = [tmp_path / name for name in ("a.txt", "b.jsonl", "c.md", "d.html")]
    found = entries(paths)
    assert texts(found[:3]) == [document.text for document in read_documents(paths[:3])]
    assert [json.loads(entry.content)["id"] for entry in found] == [str(paths[0]), "b", *map(str, paths[2:])]
    assert json.loads(found[3].content)["html"] == "<p>four</p>"
    assert [entry.page for entry in found] == [None, None, None, (None, "text/html")]


def test_records_under_a_name_that_says_nothing_come_one_by_one_and_in_order(tmp_path: Path) -> None:
    contents = {"a": b"one", "b": b'{"text":"two"}\n{"text":"three"}\n', "c.py": b'{"text":"four"}\n{}'}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = entries([tmp_path / name for name in contents])
    assert texts(found) == ["one", "two", "three", contents["c.py"].decode()]


def test_an_array_of_records_is_an_error_also_where_bad_lines_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'[{"text":"one"},\n{"text":"two"}]'
    (tmp_path / "a.json").write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    for path in (tmp_path / "a.json", Path("-")):
        with pytest.raises(DataError, match="one JSON array"):
            entries([path], skips_bad=True)


def test_texts_are_put_under_the_key_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (entry,) = entries([tmp_path / "a.txt"], field="content")
    assert json.loads(entry.content)["content"] == "one"


def test_bytes_that_are_no_text_are_an_error_or_an_entry_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"a\.txt:2: not UTF-8 \(found byte 0xe9 at offset 8\)"):
        entries([path])
    (entry,) = entries([path], skips_bad=True)
    assert entry.content == b"fine\ncaf\xe9\n" and entry.line == 2 and entry.problem is not None


def test_rows_of_parquet_are_records_with_their_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["a", "b"], "n": [1, 2]}), tmp_path / "a.parquet")
    found = entries([tmp_path / "a.parquet"])
    assert [json.loads(entry.content) for entry in found] == [{"text": "a", "n": 1}, {"text": "b", "n": 2}]
    assert [entry.line for entry in found] == [1, 2]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl.zst", "jsonl"),
        ("-", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.warc.gz", "pages"),
        ("a.html", "pages"),
        ("a.py", "text"),
    ],
)
def test_the_kind_goes_by_the_name(name: str, kind: str) -> None:
    assert kind_of(Path(name)) == kind


@pytest.mark.parametrize("content", [b'{"id":"a","text":"x"}\n', b"plain text"])
def test_a_pipe_is_jsonl_or_one_text_by_its_content(piped: Callable[[bytes], Path], content: bytes) -> None:
    entries = [entry for batch in read_batches([Piece(str(piped(content)))]) for entry in batch]
    (record,) = [json.loads(entry.content) for entry in entries]
    assert record["text"] == ("x" if content.startswith(b"{") else "plain text")


def test_a_page_from_a_pipe_is_that_of_a_file_whose_id_is_its_contents(
    piped: Callable[[bytes], Path], tmp_path: Path
) -> None:
    content = b"\n<!DOCTYPE html><html><p>na\xefve"
    (tmp_path / "a.html").write_bytes(content)
    (file,), (pipe,) = (entries([path]) for path in (tmp_path / "a.html", piped(content)))
    told, named = json.loads(pipe.content), json.loads(file.content)
    assert told["html"] == named["html"] and told["metadata"] == named["metadata"]
    assert pipe.page == file.page == (None, "text/html")
    assert told["id"] == content_id(told["html"]) and named["id"] == str(tmp_path / "a.html")


def test_a_batch_iterates_over_lines_then_entries() -> None:
    entry = Entry(b"{}", "b", 1)
    assert list(Batch("a", 5, b"{1}\n\n{2}\n", (entry,))) == [
        Entry(b"{1}", "a", 5),
        Entry(b"{2}", "a", 7),
        entry,
    ]
