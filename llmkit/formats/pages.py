"""Web pages as records: HTML files, and the content of WARC and WET files.

{"id", "html" | "text", "source", "added"?, "metadata": {"url", "content_type", "charset", "http_status"?}}

A page of HTML carries `html`, to be extracted; plain text (the conversions of a .wet file, .txt responses)
carries `text` and needs no extraction. Anything else (images, scripts) carries neither: its record is there
so that what is dropped can be named, and its bytes are counted in `metadata.payload_bytes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Raw

from llmkit.formats.digest import content_id
from llmkit.formats.html_bytes import decode_html
from llmkit.formats.json_text import printable
from llmkit.formats.jsonl import OnBad, Record, raw
from llmkit.formats.magic import begins_html
from llmkit.formats.streams import plain_name
from llmkit.formats.warc import WarcRecord, read_warc

HTML_TYPES = ("text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml")
HTML_SUFFIXES = (".html", ".htm", ".xhtml")


@dataclass(frozen=True)
class Page:
    """A record, and what decides whether it is read: status None is no HTTP, content type "" is not said."""

    record: Record
    status: int | None
    content_type: str
    file: str
    line: int


def is_html(path: Path) -> bool:
    """Whether a path's name says HTML, compressed or not."""
    return plain_name(path).endswith(HTML_SUFFIXES)


def read_pages(
    stream: BinaryIO, name: str, *, warc: bool, piped: bool = False, on_bad: OnBad | None = None
) -> Iterator[Page]:
    """The pages in an open file: all records with content of a WARC file, else the file as one page.

    Args:
        stream: its bytes, decompressed.
        name: for messages, and the id of an HTML file.
        warc: whether it is WARC; else HTML.
        piped: whether the name is no page's: the id of HTML is then that of its content.
        on_bad: as for `read_warc`.

    Raises:
        DataError: as `read_warc` does.
    """
    if not warc:
        page = decode_html(stream.read())
        metadata = {"content_type": HTML_TYPES[0], "charset": page.charset}
        identity = content_id(page.text) if piped else printable(name)
        only = {"id": raw(identity), "html": _text(page.text), "metadata": raw(metadata)}
        yield Page(only, None, HTML_TYPES[0], name, 0)
        return
    for record in read_warc(stream, name, on_bad=on_bad):
        if not record.url.startswith("metadata:"):  # a crawler's notes on itself, as wget leaves them
            kind = content_type_of(record)
            yield Page(page_record(record, name), record.status, kind, name, record.number)


def content_type_of(record: WarcRecord) -> str:
    """The media type of a record's content: what its header says, else HTML where it looks like it."""
    if record.content_type:
        return record.content_type
    return HTML_TYPES[0] if begins_html(record.payload[:1024].lstrip()) else ""


def page_record(record: WarcRecord, source: str) -> Record:
    """The record of a page; `source` names the file that it lies in."""
    kind = content_type_of(record)
    metadata: dict[str, Any] = {"url": record.url, "content_type": kind}
    content: Record = {}
    if kind in HTML_TYPES or kind == "text/plain":
        page = decode_html(record.payload, "utf-8" if record.kind == "conversion" else record.charset)
        metadata |= {"charset": page.charset, "charset_evidence": page.evidence}
        if page.replaced:
            metadata["undecodable"] = page.replaced
        content = {"html" if kind in HTML_TYPES else "text": _text(page.text)}
    else:
        metadata["payload_bytes"] = len(record.payload)
    if record.status is not None:
        metadata["http_status"] = record.status
    if record.truncated:
        metadata["truncated"] = record.truncated
    return {
        "id": raw(record.id or record.url),
        **content,
        "source": raw(printable(source)),
        **({"added": raw(record.date)} if record.date else {}),
        "metadata": raw(metadata),
    }


def _text(text: str) -> Raw:
    return raw(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
