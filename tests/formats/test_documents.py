import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.documents import (
    Document,
    in_batches,
    list_files,
    names_file,
    read_documents,
)
from llmkit.formats.jsonl import BadLine
from llmkit.formats.streams import STDIO, open_output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("two")
    (tmp_path / "a.md").write_text("one\r\n")
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "c.jsonl").write_text('{"id": 3, "text": "three", "lang": "en"}\n{"text": "four"}\n')
    return tmp_path


def test_a_folder_is_its_files_in_sorted_order_without_hidden_ones(folder: Path) -> None:
    assert [str(file.relative_to(folder)) for file in list_files([folder])] == [
        "a.md",
        "b/two.txt",
        "c.jsonl",
    ]


def test_what_made_a_folder_is_none_of_its_documents(folder: Path) -> None:
    before = list_files([folder])
    (folder / "llmkit.json").write_text("{}")
    (folder / "b" / "llmkit.json").write_text("{}")
    assert list_files([folder]) == before
    assert list_files([folder / "llmkit.json"]) == [folder / "llmkit.json"]  # named, it is read


def test_what_datasets_writes_beside_its_rows_is_no_document(tmp_path: Path) -> None:
    rows = tmp_path / "saved" / "train"
    rows.mkdir(parents=True)
    (tmp_path / "state.json").write_text("{}")  # somebody's own
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    for name in ("data-00000-of-00001.arrow", "dataset_info.json", "state.json"):
        (rows / name).write_text("{}")
    found = [str(path.relative_to(tmp_path)) for path in list_files([tmp_path])]
    assert found == ["saved/train/data-00000-of-00001.arrow", "state.json"]


def test_plain_files_are_a_document_each_and_json_lines_one_a_line(folder: Path) -> None:
    documents = list(read_documents([folder]))
    assert [document.text for document in documents] == ["one\r\n", "two", "three", "four"]
    assert documents[0].id == documents[0].where == str(folder / "a.md")
    assert documents[2].id == "3" and documents[2].where == f"{folder}/c.jsonl:1"
    assert set(documents[2].record) == {"id", "text", "lang"}


def test_a_document_without_an_id_is_called_by_its_content(folder: Path) -> None:
    last = list(read_documents([folder]))[-1]
    assert last.id == hashlib.sha256(b"four").hexdigest()[:16]


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nowhere: no such file"):
        list(read_documents([tmp_path / "nowhere"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="no files in this folder"):
        list(read_documents([tmp_path / "empty"]))


def test_a_link_to_a_file_is_the_file_one_to_a_folder_is_passed_over_and_one_to_nothing_is_named(
    folder: Path,
) -> None:
    before = list_files([folder])
    (folder / "again").symlink_to(folder)
    assert list_files([folder]) == before
    (folder / "d.md").symlink_to("a.md")
    assert list_files([folder]) == [*before, folder / "d.md"]
    (folder / "e.md").symlink_to("gone.md")
    with pytest.raises(MissingError, match=r"e\.md: a link to gone\.md, and there is nothing"):
        list_files([folder])


def test_a_folder_that_may_not_be_read_is_an_error_and_not_passed_over(folder: Path) -> None:
    for name, mode in (("corpus", 0o755), ("corpus/.hidden", 0o000), ("corpus/shut", 0o000)):
        (folder / name).mkdir()
        (folder / name / "a.txt").write_text("a")
        (folder / name).chmod(mode)
    program = """if True:
        import sys; from pathlib import Path; from llmkit.formats.documents import list_files
        print(list_files([Path(sys.argv[1])]))"""
    bound = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = [*bound, sys.executable, "-c", program, str(folder / "corpus")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"Permission denied: '{folder / 'corpus' / 'shut'}'" in done.stderr
    (folder / "corpus" / "shut").chmod(0o755)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.count("a.txt") == 2 and "hidden" not in done.stdout


def test_the_field_can_be_chosen_and_the_suffix_decides_what_is_a_record(tmp_path: Path) -> None:
    record, plain = tmp_path / "x.jsonl", tmp_path / "x.txt"
    for path in (record, plain):
        path.write_text('{"body": "hello"}\n')
    assert [d.text for d in read_documents([record], text_field="body")] == ["hello"]
    assert [d.text for d in read_documents([plain], text_field="body")] == ['{"body": "hello"}\n']


def test_bytes_that_are_no_utf_8_are_reported_by_line_and_offset_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("gut\nschön".encode("latin1"))
    with pytest.raises(DataError, match=r"latin1\.txt:2: not UTF-8 \(found byte 0xf6 at offset 7\)"):
        list(read_documents([path]))
    seen: list[BadLine] = []
    assert list(read_documents([path], on_bad=seen.append)) == []
    assert seen[0].content == path.read_bytes()


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbfhello")
    assert [document.text for document in read_documents([path])] == ["hello"]


def _documents_of_stdin(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Document]:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    return list(read_documents([STDIO]))


def test_a_byte_order_mark_does_not_make_a_text_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'\xef\xbb\xbf{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'
    assert [one.id for one in _documents_of_stdin(content, monkeypatch)] == ["a", "b"]
    (tmp_path / "in.jsonl").write_bytes(content)
    assert [one.id for one in read_documents([tmp_path / "in.jsonl"])] == ["a", "b"]


def test_an_empty_stdin_has_no_documents_and_an_empty_file_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _documents_of_stdin(b"", monkeypatch) == []
    assert [one.text for one in _documents_of_stdin(b"\n", monkeypatch)] == ["\n"]
    (tmp_path / "empty.txt").touch()
    assert [one.text for one in read_documents([tmp_path / "empty.txt"])] == [""]


def test_rows_of_parquet_are_the_documents_that_the_same_jsonl_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"id": f"d{n}", "text": f"naïve {n}", "n": n} for n in range(5)] + [{"id": "no", "text": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "in.parquet")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"n": None, **row}) + "\n" for row in rows))
    found = {}
    for name in ("in.parquet", "in.jsonl"):
        bad: list[BadLine] = []
        documents = list(read_documents([tmp_path / name], on_bad=bad.append))
        found[name] = [(one.id, one.text, one.line) for one in documents], [one.number for one in bad]
    assert found["in.parquet"] == found["in.jsonl"] and len(found["in.jsonl"][0]) == 5
    with pytest.raises(UsageError, match="stdin: parquet cannot be piped"):
        _documents_of_stdin((tmp_path / "in.parquet").read_bytes(), monkeypatch)


def test_a_record_without_text_can_be_passed_over(folder: Path) -> None:
    path = folder / "c.jsonl"
    path.write_text('{"text": "good"}\n{"no": 1}\n{"text": 5}\n{"text": "too"}\n')
    with pytest.raises(DataError, match=r"c\.jsonl:2"):
        list(read_documents([path]))
    seen: list[BadLine] = []
    assert [d.text for d in read_documents([path], on_bad=seen.append)] == ["good", "too"]
    assert [bad.number for bad in seen] == [2, 3]
    assert seen[0].problem.startswith('no "text" field')  # its place is told beside it
    assert json.loads(seen[0].content) == {"no": 1}


def test_one_document_at_a_time_is_held(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text('{"text": "x"}\n' * 3 + "broken\n")
    stream = read_documents([path])
    assert isinstance(next(stream), Document)  # the broken line is not read yet


def test_a_batch_ends_with_its_characters_or_its_number_and_the_last_with_the_documents() -> None:
    found = [Document(str(number), "a" * size, "f", 1) for number, size in enumerate((2, 2, 5, 1, 0, 0, 1))]
    by_both = [[one.id for one in batch] for batch in in_batches(found, 4, 3)]
    assert by_both == [["0", "1"], ["2"], ["3", "4", "5"], ["6"]]
    assert [len(batch) for batch in in_batches(found, 100)] == [7] and list(in_batches([], 1)) == []


def test_a_file_name_that_is_not_utf8_gives_an_id_that_is(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    path.write_text("x")
    (document,) = read_documents([path])
    assert document.id == f"{tmp_path}/caf\\xe9.txt" and document.id.encode()


@pytest.mark.parametrize("content", [b'{"id": "a", "text": "x"}\n', b"plain text"])
def test_a_pipe_is_told_by_its_content_as_stdin_is(
    piped: Callable[[bytes], Path], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(read_documents([piped(content)]))
    assert [(one.id, one.text) for one in found] == [
        (one.id, one.text) for one in _documents_of_stdin(content, monkeypatch)
    ]


def test_a_word_is_a_file_where_there_is_one_or_where_it_is_written_like_one(tmp_path: Path) -> None:
    file = tmp_path / "README"
    file.write_text("text")
    os.mkfifo(tmp_path / "pipe")
    assert names_file(str(file)) and names_file("-") and names_file(str(tmp_path / "pipe"))
    assert not names_file("def main():") and not names_file("a" * 5000)
    assert not names_file("see notes.txt")
    for name in ("notes.txt", "docs.jsonl.zst"):
        with pytest.raises(MissingError, match="no such file"):
            names_file(name)


def test_records_are_documents_under_any_name_that_says_nothing_of_them(tmp_path: Path) -> None:
    content = '{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'
    for name in ("t", "t.JSONL", "t.jl", "t.jsonl.1", "t.data", "t.json"):
        (tmp_path / name).write_text(content)
        assert [one.text for one in read_documents([tmp_path / name])] == ["one", "two"]
    for name in ("t.zst", "t.jsonl.zstd", "t.JSONL.GZ", "t.gzip"):
        with open_output(tmp_path / name) as stream:
            stream.write(content.encode())
        assert (tmp_path / name).read_bytes() != content.encode()
        assert [one.text for one in read_documents([tmp_path / name])] == ["one", "two"]


def test_an_array_of_records_is_no_document_and_is_not_passed_over_as_one_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"text": "one"},\n {"text": "two"}]')
    seen: list[BadLine] = []
    with pytest.raises(DataError, match=r"a\.json: one JSON array"):
        list(read_documents([path], on_bad=seen.append))
    assert seen == []
