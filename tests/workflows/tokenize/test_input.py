"""What tokenize reads: file lists byte for byte, texts as they stand, chats as their template has them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.digest import content_id
from llmkit.formats.documents import Document
from llmkit.formats.jsonl import BadLine
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.input import is_chat, literal, read_file_list, read_texts

TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
RENDERED = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes?<|im_end|>\n"


@pytest.fixture
def read(byte_tokenizer: Tokenizer, tmp_path: Path) -> Callable[..., list[Document]]:
    """The documents in some records, or in lines as they are."""

    def call(*records: dict[str, Any] | bytes, tokenizer: Tokenizer = byte_tokenizer, **settings: Any) -> Any:
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in records]
        (tmp_path / "d.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        given = {"field": "text", "generation_prompt": False, "on_bad": None, **settings}
        return list(read_texts([tmp_path / "d.jsonl"], tokenizer, **given))

    return call


def test_a_file_list_is_names_between_separators_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"a b.txt\n\nc\xff.txt\nd.txt")
    names = read_file_list(path, b"\n")
    assert [os.fsencode(name) for name in names] == [b"a b.txt", b"c\xff.txt", b"d.txt"]
    path.write_bytes(b"line\nfeed\0d\0")
    assert read_file_list(path, b"\0") == [Path("line\nfeed"), Path("d")]


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_list_is_told_from_a_list_of_files_that_are_not_there(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(MissingError, match="no file names in this list"):
        read_file_list(tmp_path / "list", b"\n")


def test_the_list_and_a_file_in_it_cannot_both_be_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list").write_bytes(b"a\n-\n")
    assert read_file_list(tmp_path / "list", b"\n") == [Path("a"), Path("-")]
    with (tmp_path / "list").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(UsageError, match="both stdin"):
            read_file_list(Path("-"), b"\n")


def test_a_text_given_as_such_is_a_document_of_no_file() -> None:
    (document,) = literal("née")
    assert (document.id, document.text, document.where) == (content_id("née"), "née", "")


def test_a_chat_is_its_rendering_and_its_record_stays(read: Callable[..., Any]) -> None:
    (chat,) = read({"id": 7, "messages": TURNS, "source": "x"})
    assert (chat.text, chat.id, chat.line) == (RENDERED, "7", 1)
    assert chat.record.keys() == {"id", "messages", "source"}
    (unnamed,) = read({"messages": TURNS})
    assert unnamed.id == content_id(RENDERED)


@pytest.mark.parametrize(
    ("record", "field", "text", "chat"),
    [
        ({"text": "a", "messages": TURNS}, "text", "a", False),
        ({"text": "a", "messages": TURNS}, "messages", RENDERED, True),
        ({"body": "b", "messages": TURNS}, "text", RENDERED, True),
        ({"body": "b", "messages": TURNS}, "body", "b", False),
        ({"messages": [], "id": "e"}, "text", "", True),
    ],
)
def test_the_field_that_is_asked_for_comes_first_and_messages_where_it_is_absent(
    read: Callable[..., Any], record: dict[str, Any], field: str, text: str, chat: bool
) -> None:
    (document,) = read(record, field=field)
    assert (document.text, is_chat(document, field)) == (text, chat)


def test_the_template_is_given_the_tools_and_whether_an_answer_is_to_come(
    read: Callable[..., Any], byte_tokenizer: Tokenizer
) -> None:
    template = "{{ tools is none }} {{ tools | length if tools else 0 }} {{ add_generation_prompt }}"
    other = Tokenizer(byte_tokenizer.backend, byte_tokenizer.config, template)
    records = [{"messages": TURNS} | more for more in ({}, {"tools": None}, {"tools": [{"name": "f"}]})]
    texts = [one.text for one in read(*records, tokenizer=other)]
    assert texts == ["True 0 False", "True 0 False", "False 1 False"]
    assert read(records[0], tokenizer=other, generation_prompt=True)[0].text == "True 0 True"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"messages": [{"role": "user"}]}', r"d\.jsonl:2: the chat template refuses these messages: loud"),
        (b'{"messages": "hi"}', r'd\.jsonl:2: "messages": Expected `array`'),
        (b'{"messages": [], "tools": 5}', r'd\.jsonl:2: "tools": Expected `array \| null`'),
        (b'{"id": 1}', r'd\.jsonl:2: no "text" field \(found: id\)'),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_that_names_its_line_or_is_handed_over(
    read: Callable[..., Any], byte_tokenizer: Tokenizer, line: bytes, problem: str
) -> None:
    template = "{% for m in messages %}{{ m['content'] or raise_exception('loud') }}{% endfor %}"
    strict = Tokenizer(byte_tokenizer.backend, byte_tokenizer.config, template)
    with pytest.raises(DataError, match=problem):
        read({"text": "a"}, line, tokenizer=strict)
    bad: list[BadLine] = []
    texts = [
        one.text for one in read({"text": "a"}, line, {"text": "b"}, tokenizer=strict, on_bad=bad.append)
    ]
    assert (texts, [one.number for one in bad]) == (["a", "b"], [2])


def test_a_tokenizer_without_a_template_reads_texts_and_refuses_chats(
    read: Callable[..., Any], byte_tokenizer: Tokenizer
) -> None:
    plain = Tokenizer(byte_tokenizer.backend)
    assert read({"text": "a"}, tokenizer=plain)[0].text == "a"
    with pytest.raises(MissingError, match="no chat template"):
        read({"messages": TURNS}, tokenizer=plain)
