"""A picture as the bytes of a PNG file: eight bits a channel, RGB, no filter. No dependency.

Source: the PNG specification, third edition (W3C 2025): signature, IHDR, IDAT, IEND.
"""

import struct
import zlib
from collections.abc import Sequence

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_bytes(rows: Sequence[Sequence[Color]]) -> bytes:
    """A picture of one pixel or more, rows from the top, all of one width: the same bytes each time."""
    height, width = len(rows), len(rows[0])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = (b"\0" + bytes(channel for color in row for channel in color) for row in rows)
    content = zlib.compress(b"".join(lines), 9)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
