"""How many different words a text has, and how many more of the same text would have.

Training holds each different word once, so this decides its memory: English repeats itself; Japanese, which
is cut at punctuation only, hardly ever does. New words come ever more seldom, by Heaps' law as a power of the
length; the power is read off from a sample's half and its whole.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_WORD = re.compile(r" ?[^\W\d_]+| ?[^\s\w]+|\d{1,3}|\s+|_+")  # much like the patterns that text is cut by


@dataclass(frozen=True)
class Growth:
    """The different words of a sample."""

    text_bytes: int
    symbols: int
    """The length of all different words together."""
    power: float

    def symbols_of(self, text_bytes: int) -> int:
        """The length of all different words of so much text."""
        if not self.text_bytes:
            return 0
        return round(self.symbols * (text_bytes / self.text_bytes) ** self.power)


def measure_growth(texts: Iterable[str], length: Callable[[str], int]) -> Growth:
    """Count the different words of a sample whose texts are in random order.

    Args:
        texts: the sample.
        length: of a word, in what the model is made of: bytes or characters.

    """
    seen: set[str] = set()
    points = [(0, 0)]  # bytes of text so far, length of the words in it
    total = symbols = 0
    for text in texts:
        total += len(text.encode())
        new = set(_WORD.findall(text)) - seen
        symbols += sum(map(length, new))
        seen |= new
        points.append((total, symbols))
    half_bytes, half_symbols = next(point for point in points if 2 * point[0] >= total)
    power = 1.0
    if 0 < half_bytes < total:
        power = math.log(symbols / half_symbols) / math.log(total / half_bytes)
    return Growth(total, symbols, min(power, 1.0))
