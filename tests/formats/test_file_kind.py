import gzip
import io
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.formats import file_kind
from llmkit.formats.file_kind import TEXT, holds_json_lines, is_json_lines, kind_of_input, suffix_of
from llmkit.formats.streams import STDIO, open_input

RECORDS = '{"text": "a"}\n{"text": "b"}\n'


def test_the_name_says_json_lines_under_any_compression_and_in_any_case() -> None:
    for name in (
        "a.jsonl",
        "a.jsonl.zst",
        "a.ndjson.gz",
        "a.b.jsonl",
        "A.JSONL",
        "a.Jsonl.ZSTD",
        "a.jsonl.gzip",
    ):
        assert is_json_lines(Path(name))
    for name in ("a.json", "a.txt", "a.zst", "jsonl", "a.jsonl.txt", ".zst", "a.jsonl.1"):
        assert not is_json_lines(Path(name))
    assert (
        suffix_of(Path("x/A.JSON.zst")) == ".json" and suffix_of(Path("a.gz")) == suffix_of(Path("-")) == ""
    )


@pytest.mark.parametrize(
    ("content", "is_lines"),
    [
        (RECORDS, True),
        ('\ufeff\n{"text": "a"}\n\n{"text": "b"}', True),
        ('{"text": "' + "long " * 2000 + '"}\n{"text": "b"}\n', True),
        (" " * 9999 + RECORDS, True),
        ('{\n  "text": "a"\n}\n', False),
        ('{"text": "a"}\nwords\n', False),
        ("[1, 2]\n", False),
        ("[]\n", False),
        ('[{"id": 1, "name": "a"}]\n', False),
        ("[{{ name }}]\n", False),
        ("{{ messages }}\n", False),
        ("words\n" + RECORDS, False),
        ("", False),
        ("\n", False),
    ],
)
@pytest.mark.parametrize("name", ["c4.json", "c4", "c4.data", "c4.jsonl.1", "c4.jl", "C4.JSON"])
def test_a_file_whose_name_says_nothing_is_lines_where_its_first_two_are_objects(
    tmp_path: Path, name: str, content: str, is_lines: bool
) -> None:
    plain, packed = tmp_path / name, tmp_path / f"{name}.gz"
    plain.write_text(content)
    packed.write_bytes(gzip.compress(content.encode()))
    for path in (plain, packed):
        with open_input(path) as stream:
            kind, whole = kind_of_input(path, stream)
            assert kind == ("jsonl" if is_lines else "text") and whole.read() == content.encode()


@pytest.mark.parametrize(
    ("name", "is_lines"),
    [("a.json", True), ("a", True), ("a.zst", True), ("a.jl", True), ("a.jsonl.3", True), ("a.data", False)],
)
def test_one_object_alone_is_lines_only_under_a_name_that_lines_have(
    tmp_path: Path, name: str, is_lines: bool
) -> None:
    (tmp_path / name).write_text('{"text": "a"}\n')
    assert holds_json_lines(tmp_path / name) == is_lines


@pytest.mark.parametrize("suffix", [".txt", ".md", ".py", ".PY", ".html", ".csv", ".ipynb", ".py.zst"])
def test_a_name_that_is_known_as_text_is_text_whatever_it_begins_with(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    for content in (RECORDS, '[{"text": "a"}]'):
        path.write_text(content)
        assert not holds_json_lines(path)
    assert all(known == known.lower() and known.startswith(".") for known in TEXT)


@pytest.mark.parametrize("content", ['[{"text": "a"}]', '\n[\n  {\n    "text": "a"\n  }\n]\n'])
@pytest.mark.parametrize("name", ["a.json", "a.JSON.gz", "a"])
def test_a_file_of_one_array_is_told_how_to_become_lines(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else content.encode())
    with pytest.raises(DataError, match="one JSON array, not lines") as caught:
        holds_json_lines(path)
    assert "jq -c '.[]'" in caught.value.hint and caught.value.hint.endswith("a.jsonl")


def test_of_a_long_line_that_is_no_object_only_the_beginning_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Watched(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            asked.append(size or 0)
            return super().readline(size)

    path = tmp_path / "book"
    path.touch()
    monkeypatch.setattr(file_kind, "open_input", lambda _: Watched(b"x" * 100_000 + b"\n"))
    assert not holds_json_lines(path)
    assert asked and max(asked) <= 1 << 12


def test_a_stream_is_jsonl_by_its_name_alone_and_else_by_its_first_byte() -> None:
    assert not holds_json_lines(STDIO)
    kind, stream = kind_of_input(STDIO, io.BufferedReader(io.BytesIO(b'{"broken')))
    assert kind == "jsonl" and stream.read() == b'{"broken'


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "a.warc.wet.gz"])
def test_a_warc_file_is_no_text(tmp_path: Path, name: str) -> None:
    content = b"WARC/1.0\r\n\r\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with open_input(path) as stream, pytest.raises(DataError, match="a WARC file") as caught:
        kind_of_input(path, stream)
    assert caught.value.hint == f"llmkit clean {path} makes documents of its pages"
