"""Bodies of stored responses, compared with what the compressing libraries were given."""

import gzip
import zlib

import pytest
import zstandard

from llmkit.formats.http_body import BodyError, decoded_body

TEXT = b"Good morning. " * 200
LIMIT = 1 << 20
BOMB = b"\0" * (LIMIT + 1)


def chunked(body: bytes, size: int = 100) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def raw_deflate(body: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(body) + machine.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("gzip", TEXT),  # stored decoded under the header of the wire, as Common Crawl does
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("zstd", zstandard.compress(TEXT)),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT), mtime=0)),
    ],
)
def test_a_compressed_body_comes_out_as_it_went_in(encoding: str, body: bytes) -> None:
    assert decoded_body({"content-encoding": encoding}, body, LIMIT) == TEXT
    headers = {"content-encoding": encoding, "transfer-encoding": "chunked"}
    assert decoded_body(headers, chunked(body), LIMIT) == TEXT


def test_brotli_is_undone_where_the_package_is_there() -> None:
    brotli = pytest.importorskip("brotli")
    assert decoded_body({"content-encoding": "br"}, brotli.compress(TEXT), LIMIT) == TEXT


def test_a_chunked_body_stored_joined_is_left_alone() -> None:
    assert decoded_body({"transfer-encoding": "chunked"}, b"<html>", LIMIT) == b"<html>"


@pytest.mark.parametrize(
    ("headers", "body", "problem"),
    [
        ({"content-encoding": "gzip"}, gzip.compress(TEXT, mtime=0)[:30], "damaged compressed"),
        ({"content-encoding": "zstd"}, zstandard.compress(TEXT)[:9] + b"\xff" * 50, "damaged compressed"),
        ({"content-encoding": "exi"}, TEXT, "not known: exi"),
        ({"transfer-encoding": "chunked"}, b"5\r\nabcdefgh\r\n", "damaged chunk at byte 8"),
        ({"content-encoding": "gzip"}, gzip.compress(BOMB, mtime=0), f"more than {LIMIT} bytes"),
        ({"content-encoding": "zstd"}, zstandard.compress(BOMB), f"more than {LIMIT} bytes"),
    ],
)
def test_a_damaged_or_exploding_body_is_refused(headers: dict[str, str], body: bytes, problem: str) -> None:
    with pytest.raises(BodyError, match=problem):
        decoded_body(headers, body, LIMIT)
