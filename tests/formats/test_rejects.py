"""Bad lines are counted and kept."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import DataError, UsageError
from llmkit.formats.documents import read_documents
from llmkit.formats.jsonl import read_records
from llmkit.formats.rejects import bad_lines, holds_rejects
from llmkit.formats.token_documents import encode_token_document, token_document

LINES = [
    b'{"id": 7, "text": "good", "n": 1.50}',
    b"not json",
    b'{"id": 8, "n": 2.0}',
    b'{"text": "\xff"}',
    b'{"te\xffxt": "a"}',
]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    return path


def test_every_kind_of_bad_line_is_kept_with_its_reason(docs: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    with bad_lines("tokenize", rejects=rejects, inputs=[docs]) as bad:
        good = list(read_documents([docs], on_bad=bad.on_bad))
    assert [document.text for document in good] == ["good"]
    kept = [msgspec.json.decode(line) for line in rejects.read_bytes().splitlines()]
    assert bad.count == len(kept) == 4
    assert [record["_reject"]["line"] for record in kept] == [2, 3, 4, 5]
    assert kept[0]["_line"] == "not json"
    assert {key: value for key, value in kept[1].items() if key != "_reject"} == {"id": 8, "n": 2.0}
    assert 'no "text" field' in kept[1]["_reject"]["error"]


def test_without_skip_the_first_bad_line_is_an_error(docs: Path) -> None:
    with bad_lines("tokenize") as bad, pytest.raises(DataError, match=r"docs.jsonl:2: not a JSON object"):
        list(read_documents([docs], on_bad=bad.on_bad))


@pytest.mark.parametrize("line", LINES[3:])
def test_bytes_that_are_not_utf8_inside_a_record_are_a_data_error(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(DataError, match=r"docs.jsonl:1: not UTF-8"):
        list(read_documents([path]))


def test_a_numeric_id_stays_a_number_through_a_token_document(tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"
    path.write_bytes(b'{"id":7,"n":1.50,"tokens":[1,2]}\n')
    (line,) = read_records(path)
    document = token_document(line)
    assert document.id == "7"
    assert encode_token_document(document) == b'{"id":7,"n":1.50,"tokens":[1,2]}\n'


def test_rejects_and_results_do_not_go_to_one_place(tmp_path: Path) -> None:
    for out, rejects in (("out", "out"), ("out", "./x/../out"), ("folder", "folder/rejects.jsonl")):
        with (
            pytest.raises(UsageError, match="rejects and results in one place"),
            bad_lines("x", rejects=tmp_path / rejects, out=tmp_path / out),
        ):
            pass
    with bad_lines("x", rejects=tmp_path / "rejects.jsonl", out=tmp_path / "out"):
        pass
    for stdout in (None, Path("-")):
        with (
            pytest.raises(UsageError, match="rejects and results in one place"),
            bad_lines("x", rejects=Path("-"), out=stdout),
        ):
            pass


@pytest.mark.parametrize(
    ("content", "is_kept"),
    [
        (b'{"a": 1, "_reject": {"stage": "clean"}}\nwhatever', True),
        (b"", True),
        (b'{"a": 1, "_reject": {"stage": "finetune"}}\n', False),
        (b'{"a": 1}\n', False),
        (b'{"_reject": "clean"}\n', False),
        (b"[1]\n", False),
        (b"mine\n", False),
        (b"\x28\xb5\x2f\xfd\x00", False),
    ],
)
def test_a_file_is_what_a_command_kept_where_its_first_line_says_so(
    content: bytes, is_kept: bool, tmp_path: Path
) -> None:
    (tmp_path / "rejects.jsonl").write_bytes(content)
    assert holds_rejects(tmp_path / "rejects.jsonl", "clean") == is_kept
    assert not holds_rejects(tmp_path, "clean") and not holds_rejects(tmp_path / "none", "clean")


def test_what_can_be_read_only_once_is_left_unread(piped: Callable[[bytes], Path]) -> None:
    pipe = piped(b'{"_reject": {"stage": "clean"}}\n')
    assert not holds_rejects(pipe, "clean")
    assert pipe.read_bytes().startswith(b"{")
