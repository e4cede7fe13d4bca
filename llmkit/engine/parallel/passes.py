"""A pass as the first process of several tells the others: what is new in it, and where it is kept.

Everything that a pass depends on is in its message, so that nobody has to remember a text. What a follower
remembers all the same, a text's list of blocks, saves it from writing the list to a GPU anew.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from llmkit.engine.blocks import Block
from llmkit.engine.pass_runner import known_ids
from llmkit.engine.scheduler import Work
from llmkit.engine.text import Text, read_only

MAIN = 0
"""The memory that texts keep."""


@dataclass(frozen=True)
class Memory:
    """Where the keys and values of a pass are."""

    number: int = MAIN
    blocks: int = 0
    """Of one that is new; 0: it is there already."""
    gone: tuple[int, ...] = ()
    """Those that nobody needs any more."""


class _Told(msgspec.Struct, array_like=True, frozen=True):
    """What is computed of one text."""

    number: int
    start: int
    count: int
    num_drafts: int
    num_tokens: int
    """What it has, without guesses."""
    num_given: int
    """Of its prompt, still to be scored."""
    ids: bytes
    """(count,) int32: the last `num_drafts` are guesses."""
    blocks: bytes
    """int32, all that it has."""


class _Order(msgspec.Struct, array_like=True, frozen=True):
    """One pass."""

    memory: Memory
    texts: tuple[_Told, ...]


_DECODER = msgspec.msgpack.Decoder(_Order)
_ENCODER = msgspec.msgpack.Encoder()


def encode_pass(works: Sequence[Work], memory: Memory = Memory()) -> bytes:
    """A pass as a message."""
    texts = tuple(
        _Told(
            work.text.number,
            work.start,
            work.count,
            work.num_drafts,
            len(work.text.tokens),
            len(work.text.given),
            np.array(known_ids(work), np.int32).tobytes(),
            work.text.table.numbers.tobytes(),
        )
        for work in works
    )
    return _ENCODER.encode(_Order(memory, texts))


class PassReader:
    """Messages as passes again."""

    def __init__(self, most: int) -> None:
        """
        Args:
            most: texts that are remembered.
        """
        self._most = most
        self._texts: OrderedDict[int, Text] = OrderedDict()

    def read(self, message: bytes) -> tuple[Memory, list[Work]]:
        """Where a pass is, and what is computed."""
        order = _DECODER.decode(message)
        works = [self._work(told) for told in order.texts]
        while len(self._texts) > max(self._most, len(works)):
            self._texts.popitem(last=False)
        return order.memory, works

    def _work(self, told: _Told) -> Work:
        text = self._texts.pop(told.number, None) or read_only(told.number)
        self._texts[told.number] = text
        ids = np.frombuffer(told.ids, np.int32).tolist()
        known = told.count - told.num_drafts
        blocks = np.frombuffer(told.blocks, np.int32)
        had = text.table.numbers
        if not np.array_equal(had, blocks[: len(had)]):
            text.forget()
        text.tokens, text.given = [0] * told.num_tokens, [0] * told.num_given  # of the others nothing is read
        text.tokens[told.start : told.start + known] = ids[:known]
        text.drafts = ids[known:]
        for index in blocks[len(text.table) :].tolist():
            text.table.append(Block(index))
        return Work(text, told.start, told.count, told.num_drafts)
