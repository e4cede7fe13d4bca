"""llmkit retrieve query: queries in, each with the passages that answer it best out."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from llmkit.errors import DataError
from llmkit.formats.file_kind import kind_of_input
from llmkit.formats.jsonl import BadLine, Line, OnBad, Record, decode_field, number_lines, parse_records, raw
from llmkit.formats.not_utf8 import not_utf8, utf8_hint
from llmkit.formats.streams import input_name, open_input
from llmkit.retrieve.hits import Find, Hit
from llmkit.workflows.retrieve.conversation import MESSAGES, question

FIELDS = ("query", "question", "prompt", "text", MESSAGES)
"""Where a record's query is looked for, unless it is said."""


class Query(NamedTuple):
    """What is looked for, and the record that it came in."""

    text: str
    record: Record
    where: str = "the query"
    """`file:line`, for errors."""


def read_queries(path: Path, field: str | None, *, on_bad: OnBad | None = None) -> Iterator[Query]:
    """Queries from jsonl, or from plain text, one a line.

    Args:
        path: the file, or a stream (`-`, a pipe), which is jsonl where it begins with a brace.
        field: the key of the query; None: the first of FIELDS that a record has.
        on_bad: see `read_records`.

    Raises:
        DataError: a malformed line, or one without a query.
    """
    name = input_name(path)
    with open_input(path) as stream:
        kind, stream = kind_of_input(path, stream)
        if kind == "text":
            yield from _from_text(stream, name, on_bad)
            return
        for line in parse_records(stream, name, on_bad=on_bad):
            key = field or next((name for name in FIELDS if name in line.record), FIELDS[0])
            try:
                yield Query(_text_at(line, key), line.record, line.where)
            except DataError as error:
                if on_bad is None:
                    raise
                on_bad(line.bad(error))


def _text_at(line: Line, key: str) -> str:
    if key == MESSAGES and key in line.record:
        return question(line.record, line.where)
    return str(decode_field(line, key, str))


def _from_text(stream: BinaryIO, name: str, on_bad: OnBad | None) -> Iterator[Query]:
    for number, content in number_lines(stream):
        try:
            text = content.decode().strip()
        except UnicodeDecodeError as error:
            problem = not_utf8(error)
            if on_bad is None:
                raise DataError(
                    f"{name}:{number}: {problem}", hint=utf8_hint(name, content if number == 1 else b"")
                ) from None
            on_bad(BadLine(content, name, number, problem))
            continue
        if text:
            yield Query(text, {"query": raw(text)}, f"{name}:{number}")


def answer_queries(queries: Iterable[Query], find: Find, *, most: int) -> Iterator[tuple[Query, list[Hit]]]:
    """Each query with what was found for it, the best first.

    Args:
        queries: what is looked for.
        find: where.
        most: passages a query.
    """
    for query in queries:
        yield query, find(query.text, most)


def find_documents(query: str, find: Find, *, most: int) -> list[str]:
    """The documents that have the best passages, the best first.

    Args:
        query: what is looked for.
        find: where.
        most: documents; passages are looked for until there are so many of them, or no more are found.
    """
    passages = 4 * most
    while True:
        hits = find(query, passages)
        documents = list(dict.fromkeys(hit.document for hit in hits))
        if len(documents) >= most or len(hits) < passages:
            return documents[:most]
        passages *= 4
