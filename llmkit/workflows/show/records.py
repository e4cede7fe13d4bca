"""A data file: documents, token documents, chats or any JSON lines, counted in one pass; or plain text."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.jsonl import Line, decode_field
from llmkit.formats.not_utf8 import utf8_hint
from llmkit.formats.streams import open_input


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """The lengths of something over all records."""

    total: int
    shortest: int
    mean: float
    longest: int


class RecordsReport(msgspec.Struct, frozen=True, kw_only=True):
    """A file of JSON lines, or with `kind` "text" a plain one."""

    schema: str = "llmkit.show/1"
    kind: str
    """documents (text), tokens, chat (messages), preference (chosen, rejected), prompts, records or text."""
    path: str
    records: int
    lines: int | None = None
    """Of a plain text."""
    fields: dict[str, int] = {}
    """How many records have each key, in the order the keys turn up."""
    text_bytes: Lengths | None = None
    tokens: Lengths | None = None
    highest_token_id: int | None = None
    masked_records: int = 0
    """Token documents with a loss mask."""
    messages: Lengths | None = None
    roles: dict[str, int] = {}
    made_by: str | None = None
    """The command that made a folder of parts."""


_KINDS = (
    ({"tokens"}, "tokens"),
    ({"chosen", "rejected"}, "preference"),
    ({"messages"}, "chat"),
    ({"text"}, "documents"),
    ({"prompt"}, "prompts"),
)


def show_records(path: Path, lines: Iterable[Line]) -> RecordsReport:
    """Count a file of JSON lines.

    Raises:
        DataError: a line is malformed, or `text`, `tokens` or `messages` does not hold what it should.
    """
    fields: dict[str, int] = {}
    texts, tokens, messages = _Running(), _Running(), _Running()
    roles: dict[str, int] = {}
    highest, records = -1, 0
    for line in lines:
        records += 1
        for key in line.record:
            fields[key] = fields.get(key, 0) + 1
        if "text" in line.record:
            texts.add(len(_value(line, "text", str).encode()))
        if "tokens" in line.record:
            ids = _value(line, "tokens", list[int])
            tokens.add(len(ids))
            highest = max(highest, max(ids, default=-1))
        if "messages" in line.record:
            turns = _value(line, "messages", list[dict[str, Any]])
            messages.add(len(turns))
            for message in turns:
                role = str(message.get("role"))
                roles[role] = roles.get(role, 0) + 1
    if not records:
        raise DataError(
            f"{path}: no records (found nothing but blank lines)",
            hint="pipe records in, or name a file that has some",
        )
    return RecordsReport(
        kind=next((kind for keys, kind in _KINDS if keys <= fields.keys()), "records"),
        path=str(path),
        records=records,
        fields=fields,
        text_bytes=texts.lengths(),
        tokens=tokens.lengths(),
        highest_token_id=highest if highest >= 0 else None,
        masked_records=fields.get("mask", 0) if tokens.count else 0,
        messages=messages.lengths(),
        roles=roles,
    )


def show_text(path: Path) -> RecordsReport:
    """Count a plain text file: one document.

    Raises:
        DataError: it is not UTF-8.
    """
    count, number = 0, 0
    with open_input(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}:{number}: not UTF-8 (found byte 0x{line[error.start]:02x})",
                    hint=utf8_hint(path, line if number == 1 else b""),
                ) from None
            count += len(line)
    return RecordsReport(
        kind="text",
        path=str(path),
        records=1,
        lines=number,
        text_bytes=Lengths(total=count, shortest=count, mean=count, longest=count),
    )


def _value(line: Line, key: str, kind: Any) -> Any:
    return decode_field(line, key, kind)


class _Running:
    """Lengths added up as they come."""

    def __init__(self) -> None:
        self.count, self.total, self.shortest, self.longest = 0, 0, 0, 0

    def add(self, length: int) -> None:
        self.shortest = length if not self.count else min(self.shortest, length)
        self.longest = max(self.longest, length)
        self.count += 1
        self.total += length

    def lengths(self) -> Lengths | None:
        if not self.count:
            return None
        return Lengths(
            total=self.total, shortest=self.shortest, mean=self.total / self.count, longest=self.longest
        )
