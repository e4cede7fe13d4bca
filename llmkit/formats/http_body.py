"""The body of a stored HTTP response: chunks joined, compression undone, within a limit.

Crawlers differ in what they store: wget the bytes of the wire, Common Crawl the decoded body under the
wire's headers. So each step is done only where the bytes bear out what the header says.
"""

import re
import zlib
from collections.abc import Callable
from typing import TypeVar, cast

import zstandard

from llmkit.formats.magic import GZIP, ZSTD

_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_PIECE_BYTES = 1 << 12  # compressed bytes at a time: bounds how far one step can go over the limit
Content = TypeVar("Content", bytes, bytearray)


class BodyError(ValueError):
    """What is wrong with one record; its reader says where."""


def decoded_body(headers: dict[str, str], body: bytes, max_bytes: int) -> bytes:
    """The content that a response carries.

    Args:
        headers: of the response, names in lower case.
        body: what followed them.
        max_bytes: the most it may inflate to.

    Raises:
        BodyError: a chunk or a compressed stream is damaged, too large, or of an unknown encoding.
    """
    if "chunked" in headers.get("transfer-encoding", "").lower() and _CHUNK.match(body):
        body = _joined(body)
    names = [name.strip().lower() for name in headers.get("content-encoding", "").split(",")]
    for name in reversed(names):  # listed in the order in which they were applied
        body = _inflated(name.removeprefix("x-"), body, max_bytes)
    return body


def _joined(body: bytes) -> bytes:
    """The chunks of a chunked body (RFC 9112, 7.1), without their sizes; a missing end is tolerated."""
    parts, at = [], 0
    while at < len(body):
        size = _CHUNK.match(body, at)
        if size is None:
            raise BodyError(f"a damaged chunk at byte {at} of the body")
        count = int(size.group(1), 16)
        if count == 0:
            break
        parts.append(body[size.end() : size.end() + count])
        at = size.end() + count
        if body[at : at + 2] not in (b"\r\n", b""):
            raise BodyError(f"a damaged chunk at byte {at} of the body")
        at += 2
    return b"".join(parts)


def _inflated(name: str, body: bytes, max_bytes: int) -> bytes:
    if name in ("", "identity", "none") or not body:
        return body
    if name == "gzip":
        return _zlib(body, 31, max_bytes) if body.startswith(GZIP) else body
    if name == "deflate":  # zlib's wrapper as the standard says, or none as some servers do
        is_wrapped = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
        return _zlib(body, 15 if is_wrapped else -15, max_bytes)
    if name == "zstd":
        return _zstd(body, max_bytes) if body.startswith(ZSTD) else body
    if name == "br":
        return _brotli(body, max_bytes)
    raise BodyError(f"a content encoding that is not known: {name[:40]}")


def _zlib(body: bytes, window: int, max_bytes: int) -> bytes:
    machine = zlib.decompressobj(window)
    try:
        content = machine.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise BodyError(f"a damaged compressed body ({error})") from None
    return _whole(_within(content, max_bytes), machine.eof)


def _zstd(body: bytes, max_bytes: int) -> bytes:
    machine = zstandard.ZstdDecompressor().decompressobj()
    content = bytearray()
    try:
        for at in range(0, len(body), _PIECE_BYTES):
            content += machine.decompress(body[at : at + _PIECE_BYTES])
            if machine.eof:
                break
            _within(content, max_bytes)
    except zstandard.ZstdError as error:
        raise BodyError(f"a damaged compressed body ({error})") from None
    return _whole(bytes(_within(content, max_bytes)), machine.eof)


def _brotli(body: bytes, max_bytes: int) -> bytes:
    try:
        import brotli
    except ImportError:
        raise BodyError("a body in brotli, which needs: pip install brotli") from None
    machine = brotli.Decompressor()
    process = cast(Callable[..., bytes], machine.process)
    try:
        content = process(body, output_buffer_limit=max_bytes + 1)
    except brotli.error as error:
        raise BodyError(f"a damaged compressed body ({error})") from None
    return _whole(_within(content, max_bytes), machine.is_finished())


def _within(content: Content, max_bytes: int) -> Content:
    if len(content) > max_bytes:
        raise BodyError(f"a compressed body that inflates to more than {max_bytes} bytes")
    return content


def _whole(content: bytes, is_whole: bool) -> bytes:
    if not is_whole:
        raise BodyError("a damaged compressed body (cut short)")
    return content
