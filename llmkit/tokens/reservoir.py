"""A random sample of a text of any length, that does not depend on the order it comes in.

Each part gets a number from a hash of its content, keyed by the seed; the sample is the parts with the
smallest numbers. So the same parts in another order give the same sample, and a larger sample holds every
smaller one. Copies of one part share its number: all of them are in the sample or, but for the last part,
none.
"""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.tokens.permutation import seed_key


@dataclass(frozen=True)
class Part:
    """A piece of text, as UTF-8, and the name of where it comes from."""

    content: bytes
    source: str

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode()


class Reservoir:
    """Keeps the parts with the smallest numbers, up to `max_bytes` and the part that reaches it.

    Attributes:
        bytes: of the parts kept.
        is_sample: whether a part was left out.

    """

    def __init__(self, max_bytes: int, seed: int) -> None:
        self.bytes = 0
        self.is_sample = False
        self._max_bytes = max_bytes
        self._key = seed_key(seed)
        self._kept: list[tuple[int, str, bytes]] = []  # a heap, the largest number first

    def add(self, part: Part) -> None:
        """Offer a part."""
        digest = hashlib.blake2b(part.content, digest_size=16, key=self._key).digest()
        heapq.heappush(self._kept, (-int.from_bytes(digest, "little"), part.source, part.content))
        self.bytes += len(part.content)
        while self.bytes - len(self._kept[0][2]) >= self._max_bytes:
            self.bytes -= len(heapq.heappop(self._kept)[2])
            self.is_sample = True

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Part]:
        """The parts kept, the smallest number first: a prefix is itself a sample."""
        for _, source, content in sorted(self._kept, reverse=True):
            yield Part(content, source)
