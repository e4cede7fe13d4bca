"""Messages between a process and one that it has started: each behind its length, 4 bytes, little-endian."""

import struct
from typing import IO

LENGTH = struct.Struct("<I")


def frame(content: bytes) -> bytes:
    """A message as it is sent."""
    return LENGTH.pack(len(content)) + content


def write_frame(stream: IO[bytes], content: bytes) -> None:
    """Write one frame and pass it on."""
    stream.write(frame(content))
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next message; None where the stream ends, also inside a frame."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    content = stream.read(size)
    return content if len(content) == size else None
