"""One document on its way through `clean`: as it came, as it is now, and as it is written.

A document that nothing has changed is written as the bytes that it came as. A rejected one is its input with
`_reject` behind everything else, so that taking it out gives the input back.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from llmkit.errors import DataError
from llmkit.formats.digest import content_id
from llmkit.formats.jsonl import (
    MALFORMED,
    Record,
    check_utf_8,
    decode_text,
    decode_value,
    encode_line,
    parse_line,
    raw,
    with_id,
)
from llmkit.text.history import roomy_object_at, with_history
from llmkit.text.rule import Verdict
from llmkit.workflows.clean.input import Entry

HTML = "html"


class Item(msgspec.Struct, gc=False):
    """A document.

    key: of the text in the record.
    text: None where the record has only `html`, from which a step takes it out.
    facts: go into `metadata`.
    tags: go into `attributes`.
    edits: how often each kind of repair was made; together with `chosen` the entry in `metadata.history`.
    scores: what rules have measured, by the name of the check.
    """

    entry: Entry
    key: str
    text: str | None
    html: str | None
    has_id: bool
    original: str | None = None
    facts: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    edits: dict[str, int] = {}
    chosen: dict[str, Any] = {}
    scores: dict[str, float] = {}
    _record: Record | None = None

    @property
    def record(self) -> Record:
        """The whole record as it came, values undecoded."""
        if self._record is None:
            entry = self.entry
            self._record = parse_line(entry.content, entry.file, entry.line, is_utf_8=True).record
        return self._record

    def within(self, key: str) -> Record:
        """The object at `metadata` or `attributes`, as it came: empty where there is none, with `was` where
        something else stands there."""
        return roomy_object_at(self.record, key)

    @property
    def is_changed(self) -> bool:
        """Whether it cannot be written as it came."""
        return bool(self.facts or self.tags or self.edits) or self.text != self.original

    @property
    def identity(self) -> str:
        """The record's id, or the digest of its content."""
        if self.has_id:
            return record_id_of(self.record)
        return content_id(self.original if self.original is not None else self.html or "")


class HeadReader:
    """Reads what steps need of each line, and says what is wrong where a line is no document.

    Args:
        field: the key of the text.
        takes_html: whether a line of jsonl may have `html` in its stead, as pages do.
    """

    def __init__(self, field: str, *, takes_html: bool) -> None:
        columns: list[Any] = [("text", str | UnsetType, msgspec.field(name=field, default=UNSET))]
        columns += [(name, Raw, Raw()) for name in ("id", HTML) if name != field]
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Head", columns)).decode
        self._field = field
        self._takes_html = takes_html

    def read(self, entry: Entry) -> Item:
        """The document of a line.

        Raises:
            DataError: not a JSON object, not UTF-8, or without a text.
        """
        if entry.problem is not None:
            where = f"{entry.file}:{entry.line}"
            raise DataError(f"{where}: {entry.problem}", hint="pass over it with --skip-bad")
        try:
            check_utf_8(entry.content)  # all of it is written again
            head: Any = self._decode(entry.content)
        except MALFORMED:
            head = None
        if head is not None:
            text = None if head.text is UNSET else head.text
            html = None
            if text is None and (self._takes_html or entry.page is not None):
                html = _text_of(getattr(head, HTML, None))
            if text is not None or html is not None or entry.page is not None:
                has_id = self._field != "id" and bytes(head.id) not in (b"", b"null")
                return Item(entry, self._field, text, html, has_id, original=text)
        line = parse_line(entry.content, entry.file, entry.line)
        if HTML in line.record and self._field not in line.record:
            raise DataError(
                f'{line.where}: no "{self._field}" field, but {HTML}',
                hint=f"--extract fast takes the text out of {HTML}",
            )
        decode_text(line, self._field)
        raise AssertionError(f"{line.where}: read one way and not the other")


def _text_of(value: Raw | None) -> str | None:
    """The string that a value is; None where it is none."""
    if value is None or not bytes(value).startswith(b'"'):
        return None
    return str(decode_value(value, str))


def record_id_of(record: Record) -> str:
    """A record's id as text, whatever type it has.

    Raises:
        DataError: it is not UTF-8.
    """
    value = decode_value(record["id"])
    return value if isinstance(value, str) else bytes(record["id"]).decode()


def keep_line(item: Item, history: dict[str, Any] | None) -> bytes:
    """A kept document as a line: the bytes it came as where nothing changed, with an id where it had none.

    Args:
        history: this stage's entry in `metadata.history`, where there is one to be made.
    """
    content = item.entry.content
    if not item.is_changed:
        if item.has_id:
            return content + b"\n"
        if b'"id"' not in content:
            return (
                b'{"id":' + msgspec.json.encode(item.identity) + b"," + content.lstrip()[1:].lstrip() + b"\n"
            )
    record: Record = {}
    for key, value in item.record.items():
        if key == HTML and item.key not in item.record:  # its text takes its place
            record[item.key] = raw(item.text)
        elif key == item.key:
            record[key] = value if item.text == item.original else raw(item.text)
        else:
            record[key] = value
    record = with_id(record, item.identity)
    _put(record, item, "metadata", item.facts)
    if history is not None:
        record = with_history(record, **history)
    _put(record, item, "attributes", item.tags)
    return encode_line(record)


def _put(record: Record, item: Item, key: str, values: dict[str, Any]) -> None:
    """Add values to the object at a key, in which anything else is kept as `was`."""
    if values:
        record[key] = raw({**item.within(key), **{name: raw(value) for name, value in values.items()}})


def reject_line(entry: Entry, verdict: Verdict) -> bytes:
    """A rejected document as a line: its input, and why."""
    why = {
        "stage": "clean",
        "rule": verdict.rule,
        "value": verdict.value,
        "threshold": verdict.threshold,
        "file": entry.file,
        "line": entry.line,
    }
    content = entry.content
    if b'"_reject"' in content:  # it was rejected before: the reason of then gives way
        record = parse_line(content, entry.file, entry.line, is_utf_8=True).record
        record.pop("_reject", None)
        content = encode_line(record)[:-1]
    return content.rstrip()[:-1].rstrip() + b',"_reject":' + msgspec.json.encode(why) + b"}\n"
