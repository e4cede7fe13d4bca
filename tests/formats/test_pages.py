"""Pages as records."""

import io
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from llmkit.formats.pages import Page, is_html, read_pages
from llmkit.formats.warc import is_warc

HEAD = b"WARC/1.0\r\nWARC-Type: %s\r\nWARC-Record-ID: <urn:1>\r\nWARC-Target-URI: http://example.org/\r\n"
HTTP = b"HTTP/1.1 %s\r\nContent-Type: %s\r\n\r\n%s"


def response(status: bytes, content_type: bytes, body: bytes) -> bytes:
    block = HTTP % (status, content_type, body)
    head = HEAD % b"response" + b"Content-Type: application/http\r\nWARC-Date: 2024-04-25T16:24:44Z\r\n"
    return head + b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (len(block), block)


def read(name: str, content: bytes) -> list[Page]:
    return list(read_pages(io.BytesIO(content), name, warc=is_warc(Path(name))))


def plain(page: Page) -> dict[str, object]:
    return msgspec.json.decode(msgspec.json.encode(page.record))


def test_an_html_file_is_one_page() -> None:
    (page,) = read("a.html", b"<p>na\xefve")
    assert plain(page) == {
        "id": "a.html",
        "html": "<p>naïve",
        "metadata": {"content_type": "text/html", "charset": "windows-1252"},
    }
    assert (page.status, page.line) == (None, 0)


def test_every_response_is_a_record_that_says_what_it_was() -> None:
    content = (
        response(b"200 OK", b"text/html; charset=koi8-r", b"<p>\xd0\xd2")
        + response(b"404 Not Found", b"text/html", b"<p>gone")
        + response(b"200 OK", b"image/png", b"\x89PNG")
        + response(b"200 OK", b"", b"<!DOCTYPE html><p>x")
    )
    pages = read("a.warc", content)
    records = [plain(page) for page in pages]
    assert [(page.status, page.content_type, page.line) for page in pages] == [
        (200, "text/html", 1),
        (404, "text/html", 2),
        (200, "image/png", 3),
        (200, "text/html", 4),
    ]
    assert records[0] == {
        "id": "urn:1",
        "html": "<p>пр",
        "source": "a.warc",
        "added": "2024-04-25T16:24:44Z",
        "metadata": {
            "url": "http://example.org/",
            "content_type": "text/html",
            "charset": "koi8-r",
            "charset_evidence": "header",
            "http_status": 200,
        },
    }
    assert records[2]["metadata"]["payload_bytes"] == 4 and "html" not in records[2]  # type: ignore[index]


def test_wet_text_needs_no_extraction() -> None:
    body = "naïve text".encode()
    head = HEAD % b"conversion" + b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
    (page,) = read("a.warc.wet", head + body + b"\r\n\r\n")
    assert page.record["text"] == Raw(msgspec.json.encode("naïve text")) and "html" not in page.record


@pytest.mark.parametrize("name", ["sample-0000.warc.gz", "sample-0001.warc.gz"])
def test_a_crawlers_notes_on_itself_are_no_pages(name: str, shared_data: Path) -> None:
    from llmkit.formats.streams import open_input

    path = shared_data / "dirty" / "web" / name
    with open_input(path) as stream:
        pages = list(read_pages(stream, name, warc=is_warc(path)))
    assert len(pages) >= 15
    assert all("html" in page.record and page.status == 200 for page in pages)


def test_names_say_html() -> None:
    assert is_html(Path("a.HTML")) and is_html(Path("b.htm.gz")) and not is_html(Path("a.html.jsonl"))
