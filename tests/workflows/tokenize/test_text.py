"""Texts as a result: slices that can be told by hand, since a byte is a token here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.formats.documents import Document
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.tokenize.run import Run
from llmkit.workflows.tokenize.text import write_check, write_chunks, write_truncated

MakeRun = Callable[..., Run]
CHAT = "<|im_start|>u\nhello<|im_end|>\n"


def _output(run: Run) -> str:
    content: bytes = run.stream.getvalue()  # type: ignore[attr-defined]
    return content.decode()


def _record(text: str, content: str) -> Document:
    return Document("d", text, "d.jsonl", 3, msgspec.json.decode(content, type=dict[str, msgspec.Raw]))


def _truncated(run: Run) -> str:
    write_truncated(run)
    return _output(run)


def _chunks(run: Run) -> list[dict[str, Any]]:
    write_chunks(run)
    return [json.loads(line) for line in _output(run).splitlines()]


@pytest.mark.parametrize(
    ("keep", "kept"), [("head", "abc"), ("tail", "fgh"), ("middle", "cde"), ("ends", "abh")]
)
def test_what_is_kept_of_a_text_leaves_room_for_bos_and_eos(make_run: MakeRun, keep: str, kept: str) -> None:
    run = make_run("abcdefgh", mode="truncate", limit=5, keep=keep, bos=True, eos=True)
    assert _truncated(run) == kept


def test_plain_texts_stand_end_to_end_and_short_ones_as_they_are(make_run: MakeRun) -> None:
    assert _truncated(make_run("abcdefgh", "", "x\n", mode="truncate", limit=3)) == "abcx\n"
    assert _truncated(make_run("é日🙂", mode="truncate", limit=4)) == "é"  # 日 would be cut inside


def test_a_truncated_record_keeps_its_other_fields_byte_for_byte(make_run: MakeRun) -> None:
    record = _record("abcdef", '{"n": 1.50, "text": "abcdef", "x": {"a":  1}}')
    assert _truncated(make_run(record, mode="truncate", limit=2)) == (
        '{"id":"d","n":1.50,"text":"ab","x":{"a":  1}}\n'
    )
    assert _truncated(make_run(record, mode="truncate", limit=2, row_format="text")) == "ab"
    assert json.loads(_truncated(make_run("abc", mode="truncate", limit=2, row_format="jsonl"))) == {
        "id": "0.txt",
        "text": "ab",
    }
    assert json.loads(_truncated(make_run(record, mode="truncate", limit=2, field="body")))["body"] == "ab"


def test_a_chats_text_takes_the_place_of_its_messages_and_its_marks_are_tokens(make_run: MakeRun) -> None:
    chat = _record(CHAT, '{"id": 4, "messages": [], "s": 1}')
    # <|im_start|> is one token: it, `u`, the line feed and four letters of hello are seven
    assert json.loads(_truncated(make_run(chat, mode="truncate", limit=7))) == {
        **{"id": 4, "s": 1, "text": "<|im_start|>u\nhell"},
    }


def test_chunks_tell_their_parent_their_place_and_their_size(make_run: MakeRun) -> None:
    record = _record("abcdefg", '{"id": 12, "text": "abcdefg", "s": "x"}')
    rows = _chunks(make_run(record, mode="chunk", limit=4, bos=True, overlap=1))
    assert rows == [
        {
            **{"id": f"d#{number}", "text": text, "s": "x", "parent": 12, "chunk": number},
            **{"chars": [start, start + len(text)], "num_tokens": len(text) + 1},
        }
        for number, (start, text) in enumerate([(0, "abc"), (2, "cde"), (4, "efg")])
    ]


def test_the_parent_of_a_chunk_is_the_document_where_its_id_is_null(make_run: MakeRun) -> None:
    (row,) = _chunks(make_run(_record("ab", '{"id": null, "text": "ab"}'), mode="chunk", limit=4))
    assert (row["id"], row["parent"]) == ("d#0", "d")


def test_chunks_of_a_plain_file_name_the_file_and_an_empty_one_has_none(make_run: MakeRun) -> None:
    rows = _chunks(make_run("", "ab日c", mode="chunk", limit=3))
    assert [(row["id"], row["parent"], row["text"], row["chars"]) for row in rows] == [
        *(("1.txt#0", "1.txt", "ab", [0, 2]), ("1.txt#1", "1.txt", "日", [2, 3])),
        ("1.txt#2", "1.txt", "c", [3, 4]),
    ]


def test_chunks_of_a_chat_are_texts_without_messages(make_run: MakeRun) -> None:
    rows = _chunks(make_run(_record(CHAT, '{"messages": []}'), mode="chunk", limit=4))
    assert "".join(row["text"] for row in rows) == CHAT
    assert all("messages" not in row for row in rows)
    assert rows[0]["text"] == "<|im_start|>u\nh"


@pytest.fixture
def checked(make_run: MakeRun, shared_data: Path) -> Callable[..., Run]:
    """A check by a tokenizer that joins spaces and drops those at the end (T5)."""
    tokenizer = load_tokenizer(shared_data / "tokenizers" / "t5-small")

    def call(*documents: str | Document, **config: Any) -> Run:
        run = make_run(*documents, tokenizer=tokenizer, mode="check", **config)
        write_check(run)
        return run

    return call


def test_a_text_that_does_not_come_back_is_told_with_the_first_byte_that_differs(
    checked: Callable[..., Run],
) -> None:
    run = checked("fine", "née  b", "a b ")
    assert _output(run) == (
        '1.txt: byte 5 (line 1): expected " b", found "b"\n'
        '2.txt: byte 3 (line 1): expected " ", found the end\n'
    )
    assert run.failures == ["1.txt (byte 5)", "2.txt (byte 3)"]
    assert run.totals.documents == 3


def test_a_difference_is_a_line_whatever_stands_in_the_text(checked: Callable[..., Run]) -> None:
    run = checked("a\n\x1b[2J  b")  # T5 makes a line feed a space, and nothing of an escape
    assert _output(run) == r'0.txt: byte 1 (line 1): expected "\n\x1b[2J  b", found " [2J b"' + "\n"


def test_what_is_not_ascii_is_shown_as_its_bytes_and_a_text_without_a_file_by_its_flag(
    checked: Callable[..., Run],
) -> None:
    run = checked(Document("i", "a  é", "", 0))
    assert _output(run) == r'--text: byte 2 (line 1): expected " \xc3\xa9", found "\xc3\xa9"' + "\n"
    assert run.failures == ["--text (byte 2)"]


def test_differences_are_rows_of_every_format(checked: Callable[..., Run]) -> None:
    row = {"id": "0.txt", "where": "0.txt", "byte": 2, "line": 1, "expected": " b", "found": "b"}
    assert json.loads(_output(checked("a  b", row_format="jsonl"))) == row
    assert _output(checked("a  b", row_format="tsv")) == "0.txt\t2\t b\tb\n"
    report = json.loads(_output(checked("a  b", "fine", row_format="json")))
    assert (report["schema"], report["differences"]) == ("llmkit.tokenize/1", [row])
    assert (report["total"]["documents"], report["total"]["bytes"]) == (2, 8)


def test_a_cell_of_tsv_has_no_line_feed_of_the_texts(checked: Callable[..., Run]) -> None:
    (line,) = _output(checked(Document("i", "a  b\tc\nd", "x\ty", 0), row_format="tsv")).splitlines()
    assert len(line.split("\t")) == 4 and line.startswith("x\\ty\t2\t ")


@pytest.mark.parametrize("allow_special", [False, True])
def test_special_tokens_written_in_a_text_come_back(make_run: MakeRun, allow_special: bool) -> None:
    run = make_run("<|endoftext|>é\x00\n", "", mode="check", allow_special=allow_special)
    write_check(run)
    assert _output(run) == "" and run.failures == []
    assert run.totals.tokens == (1 if allow_special else len("<|endoftext|>")) + 4
