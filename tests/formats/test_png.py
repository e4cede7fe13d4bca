"""PNG files against what torchvision-free readers make of them: zlib, and the specification's own layout."""

import struct
import zlib

from llmkit.formats.png import png_bytes

ROWS = [[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(1, 2, 3), (4, 5, 6), (7, 8, 9)]]


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each, checksums verified."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", content[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def test_the_file_has_the_pixels_row_by_row() -> None:
    found = chunks(png_bytes(ROWS))
    assert [kind for kind, _ in found] == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", found[0][1]) == (3, 2, 8, 2, 0, 0, 0)
    pixels = zlib.decompress(found[1][1])
    assert pixels == bytes([0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])


def test_the_same_picture_has_the_same_bytes() -> None:
    assert png_bytes(ROWS) == png_bytes([list(row) for row in ROWS])
