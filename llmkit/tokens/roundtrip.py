"""Does a text survive encoding and decoding, and if not, where does it first differ?"""

from dataclasses import dataclass

import numpy as np

CONTEXT_BYTES = 16


@dataclass(frozen=True)
class Difference:
    """The first byte that differs, and what stands there on both sides."""

    byte: int
    line: int
    expected: str
    found: str


def first_difference(text: str, decoded: str) -> Difference | None:
    """Where `decoded` first differs from `text`, in UTF-8 bytes; None where it does not."""
    if text == decoded:
        return None
    expected, found = text.encode(), decoded.encode(errors="surrogatepass")
    length = min(len(expected), len(found))
    differing = np.flatnonzero(
        np.frombuffer(expected, np.uint8, length) != np.frombuffer(found, np.uint8, length)
    )
    byte = int(differing[0]) if len(differing) else length
    return Difference(
        byte=byte,
        line=expected.count(b"\n", 0, byte) + 1,
        expected=_shown(expected, byte),
        found=_shown(found, byte),
    )


def _shown(content: bytes, byte: int) -> str:
    """A few bytes from a place on, readable: ASCII as it is, the rest as \\xNN; nothing at the end."""
    return content[byte : byte + CONTEXT_BYTES].decode("ascii", errors="backslashreplace")
