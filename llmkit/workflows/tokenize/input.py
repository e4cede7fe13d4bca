"""What `llmkit tokenize` reads: documents, chats rendered by the tokenizer's template, lists of files."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llmkit.errors import MissingError, UsageError, at_place
from llmkit.formats.digest import content_id
from llmkit.formats.documents import Document, document_of, read_documents
from llmkit.formats.jsonl import Line, OnBad, Record, decode_field, record_id
from llmkit.formats.streams import STDIO, open_input
from llmkit.tokens.chat import render_chat
from llmkit.tokens.tokenizer import Tokenizer

MESSAGES = "messages"


def read_file_list(path: Path, separator: bytes) -> list[Path]:
    """The names in a list of files: one a line, or each ended by a zero byte (`git ls-files -z`).

    Raises:
        MissingError: the list is empty.
    """
    with open_input(path) as stream:
        names = [name for name in stream.read().split(separator) if name]
    if not names:
        raise MissingError(f"{path}: no file names in this list", hint="git ls-files -z | llmkit tokenize …")
    if path == STDIO and b"-" in names:
        raise UsageError("-: the list and a file in it are both stdin", hint="name the list with a path")
    return [Path(os.fsdecode(name)) for name in names]


def literal(text: str) -> Iterator[Document]:
    """The document given as --text."""
    yield Document(id=content_id(text), text=text, file="", line=0)


def read_texts(
    inputs: Iterable[Path],
    tokenizer: Tokenizer,
    *,
    field: str,
    generation_prompt: bool,
    on_bad: OnBad | None,
) -> Iterator[Document]:
    """Documents with something to encode in `text`: a chat's is its rendering.

    Raises:
        MissingError, DataError: as `read_documents`; also a chat that the template cannot render.
    """
    document_from = text_reader(tokenizer, generation_prompt=generation_prompt)
    yield from read_documents(inputs, text_field=field, on_bad=on_bad, document_from=document_from)


def text_reader(tokenizer: Tokenizer, *, generation_prompt: bool = False) -> Callable[[Line, str], Document]:
    """What makes a document of a jsonl record and the key of its text: see `read_texts`."""

    def document_from(line: Line, field: str) -> Document:
        if not _is_chat(line.record, field):
            return document_of(line, field)
        messages = decode_field(line, MESSAGES, list[dict])  # type: ignore[type-arg]
        tools = decode_field(line, "tools", list | None) if "tools" in line.record else None
        with at_place(line.where):
            text = render_chat(tokenizer, messages, tools=tools, add_generation_prompt=generation_prompt)
        identity = record_id(line)
        return Document(identity or content_id(text), text, line.file, line.number, line.record)

    return document_from


def is_chat(document: Document, field: str) -> bool:
    """Whether a document's text was rendered from messages: then its special tokens are meant."""
    return _is_chat(document.record, field)


def _is_chat(record: Record, field: str) -> bool:
    return MESSAGES in record and (field == MESSAGES or field not in record)
