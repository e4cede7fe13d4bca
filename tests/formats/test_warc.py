"""WARC records: written by hand here, and real files beside FastWARC's reading of them."""

import gzip
import io
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.formats.jsonl import BadLine
from llmkit.formats.streams import open_input
from llmkit.formats.warc import WarcRecord, is_warc, read_warc


def record(
    kind: str, block: bytes, *extra: str, content_type: str = "application/http; msgtype=response"
) -> bytes:
    fields = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        "WARC-Record-ID: <urn:uuid:1>",
        "WARC-Target-URI: <http://example.org/>",
        "WARC-Date: 2024-04-25T16:24:44Z",
        f"Content-Type: {content_type}",
        *extra,
        f"Content-Length: {len(block)}",
    ]
    return "\r\n".join(fields).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


PAGE = (
    b'HTTP/1.1 200 OK\r\nContent-Type: text/HTML; charset="KOI8-R"\r\nX-Long: a\r\n  b\r\n\r\n<p>\xd0\xd2</p>'
)


def read(content: bytes, **options: int) -> tuple[list[WarcRecord], list[BadLine]]:
    bad: list[BadLine] = []
    return list(read_warc(io.BytesIO(content), "a.warc", on_bad=bad.append, **options)), bad


def test_a_response_is_opened_to_its_body() -> None:
    ((one,), bad) = read(record("request", b"GET / HTTP/1.1\r\n\r\n") + record("response", PAGE))
    assert bad == []
    assert (one.kind, one.id, one.url, one.status) == ("response", "urn:uuid:1", "http://example.org/", 200)
    assert (one.content_type, one.charset, one.payload) == ("text/html", "KOI8-R", b"<p>\xd0\xd2</p>")
    assert one.headers["x-long"] == "a b"
    assert one.number == 2


def test_wet_text_and_resources_have_no_http() -> None:
    content = record("conversion", b"plain", content_type="text/plain") + record(
        "resource", b"<p>x</p>", "WARC-Truncated: length", content_type="text/html; charset=utf-8"
    )
    (first, second), bad = read(content)
    assert (first.status, first.content_type, first.payload) == (None, "text/plain", b"plain")
    assert (second.content_type, second.charset, second.truncated) == ("text/html", "utf-8", "length")
    assert bad == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (record("response", b"no http at all"), "no HTTP status line"),
        (record("response", PAGE).replace(b"Content-Length: ", b"Content-Length: x"), "no Content-Length"),
        (record("response", PAGE + b"y" * 5000), "a record of"),
        (b"junk before\r\n", "start no record"),
    ],
)
def test_a_bad_record_is_reported_and_the_next_one_is_read(content: bytes, problem: str) -> None:
    good = record("response", PAGE)
    records, bad = read(content + good, max_record_bytes=4000)
    assert [one.payload for one in records] == [b"<p>\xd0\xd2</p>"]
    assert any(problem in one.problem for one in bad)
    with pytest.raises(DataError, match=problem):
        list(read_warc(io.BytesIO(content + good), "a.warc", max_record_bytes=4000))


def test_a_stream_cut_inside_a_record_is_reported() -> None:
    records, bad = read((record("response", PAGE) * 2)[:-30])
    assert len(records) == 1
    assert [one.problem.split(":")[0] for one in bad] == ["cut short"]


@pytest.mark.parametrize("name", ["sample-0000.warc.gz", "sample-0001.warc.gz"])
def test_real_crawls_read_as_fastwarc_reads_them(name: str, shared_data: Path) -> None:
    fastwarc = pytest.importorskip("fastwarc.warc")
    path = shared_data / "dirty" / "web" / name
    with open_input(path) as stream:
        ours = [
            (one.id, one.url, one.status, one.content_type, one.payload)
            for one in read_warc(stream, name)
            if one.kind == "response"
        ]
    peers = []
    with path.open("rb") as file:
        wanted = fastwarc.WarcRecordType.response
        for peer in fastwarc.ArchiveIterator(file, record_types=wanted, auto_decode="all"):
            target = peer.headers["WARC-Target-URI"].strip("<>")
            status, kind = peer.http_headers.status_code, peer.http_content_type
            peers.append((peer.record_id.strip("<>"), target, status, kind, peer.reader.read()))
    assert len(ours) >= 15
    assert ours == peers


def test_members_of_gzip_are_one_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    path.write_bytes(gzip.compress(record("response", PAGE)) * 3)
    with open_input(path) as stream:
        assert [one.number for one in read_warc(stream, "a")] == [1, 2, 3]
    assert is_warc(path) and is_warc(Path("x.warc.wet.gz")) and not is_warc(Path("warc.jsonl.gz"))
