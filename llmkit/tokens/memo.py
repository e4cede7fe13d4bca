"""The ids of units of text seen before: a text is mostly words that were met already.

A unit stands between two safe places (`cuts.py`) and is as a rule a word with its space. A text's ids are its
units' ids in a row, and looking a unit up costs a tenth of merging its bytes again.
"""

import threading
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import tokenizers

from llmkit.formats.token_documents import TokenIds
from llmkit.tokens.cuts import Places

MAX_CHARS = 1 << 21  # about 60 MB with what goes around them; then it starts afresh, with today's words
SEATS = 4
_MEAN_CHARS = 32  # text without spaces falls into long units, which hardly come twice


class UnknownUnitError(Exception):
    """The backend has no token for a part of a unit."""


class UnitMemo:
    """A backend with a memory, for any number of threads.

    They share the interpreter for looking up, so a few at a time remember; further ones, on a machine with
    many cores, ask the backend itself meanwhile.
    """

    def __init__(self, backend: tokenizers.Tokenizer, places: Places) -> None:
        self._backend = backend
        self._units_of = places.unit.findall
        self._known: dict[str, bytes] = {}
        self._chars = 0
        self._seats = threading.BoundedSemaphore(SEATS)

    def encode(self, texts: Sequence[str]) -> list[TokenIds | None]:
        """Each text's ids, those of the backend itself; None where memory does not pay or is taken.

        What is new in them is learnt in one call: texts may be short, and calls are dear.

        Raises:
            UnknownUnitError: one of them cannot be encoded; which one is not known.
        """
        if not self._seats.acquire(blocking=False):
            return [None] * len(texts)
        try:
            units: list[str] = []  # of all texts: a list for each would keep the collector of cycles busy
            counts = [self._cut(text, units) for text in texts]
            known = self._memory()
            new = list(set(units).difference(known))
            if new:
                self._learn(new, known)
            each = map(known.__getitem__, units)
            return [None if count is None else _ids(islice(each, count)) for count in counts]
        finally:
            self._seats.release()

    def _cut(self, text: str, units: list[str]) -> int | None:
        """Append what a text falls into. How many units; None where they are so long that few come twice."""
        found = self._units_of(text)
        if len(found) * _MEAN_CHARS < len(text):
            return None
        units += found
        return len(found)

    def _memory(self) -> dict[str, bytes]:
        """What is known; a new memory in place of a full one, which threads that have it go on with."""
        if self._chars > MAX_CHARS:
            self._known, self._chars = {}, 0
        return self._known

    def _learn(self, units: list[str], known: dict[str, bytes]) -> None:
        """Encode units in one call, which lets go of the interpreter and stays on this core."""
        try:
            (encoding,) = self._backend.encode_batch([units], is_pretokenized=True, add_special_tokens=False)
        except Exception as error:  # the library throws no narrower kind
            raise UnknownUnitError from error
        ids = np.asarray(encoding.ids, np.uint32).tobytes()
        ends = np.searchsorted(np.asarray(encoding.word_ids, np.int64), np.arange(len(units)), "right")
        start = 0
        for unit, end in zip(units, (4 * ends).tolist(), strict=True):
            known[unit] = ids[start:end]
            start = end
        self._chars += sum(map(len, units))


def _ids(parts: Iterable[bytes]) -> TokenIds:
    return np.frombuffer(b"".join(parts), np.uint32)
