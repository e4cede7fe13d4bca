"""The blocks of one text, first to last."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.blocks import Block, BlockPool, Key


class BlockTable:
    """The memory that a text holds in one group of layers.

    It grows at its end. Where layers see a window, it lets go of blocks at its beginning: they count, and can
    be asked for no more.

    Attributes:
        root: what else than tokens the keys and values depend on.
        keys: of the blocks that the text's tokens fill, as far as they were asked for.
        gone: how many blocks at its beginning are no longer held.
    """

    def __init__(self, root: Key = b"", blocks: Iterable[Block] = ()) -> None:
        self.root = root
        self.keys: list[Key] = []
        self.gone = 0
        self._held = [*blocks]
        self._numbers = np.empty(0, np.int32)
        self._num_numbers = 0

    def __len__(self) -> int:
        """Blocks from the text's beginning to the last one held."""
        return self.gone + len(self._held)

    def __getitem__(self, number: int) -> Block:
        """The block with this number, from the text's beginning. It must be held."""
        assert self.gone <= number < len(self)
        return self._held[number - self.gone]

    def __iter__(self) -> Iterator[Block]:
        """Those held."""
        return iter(self._held)

    @property
    def num_held(self) -> int:
        """Blocks held."""
        return len(self._held)

    @property
    def last(self) -> Block | None:
        """The last one held."""
        return self._held[-1] if self._held else None

    @property
    def numbers(self) -> NDArray[np.int32]:
        """Where the blocks are in the pool's memory, as the kernels read it; each is written down once.

        What stands in the place of those that are gone is not to be read.
        """
        known, count = self._num_numbers, len(self)
        if known < count:
            if count > len(self._numbers):
                self._numbers = np.concatenate((self._numbers[:known], np.zeros(count + 32, np.int32)))
            fresh = max(known, self.gone)
            self._numbers[fresh:count] = [block.index for block in self._held[fresh - self.gone :]]
            self._num_numbers = count
        return self._numbers[:count]

    def append(self, block: Block) -> None:
        """Hold another one, behind the others."""
        self._held.append(block)

    def extend(self, pool: BlockPool, count: int) -> bool:
        """Hold so many more of a pool; False, and none, where fewer are free."""
        if count > pool.num_free:
            return False
        for _ in range(count):
            block = pool.take(self.last)
            assert block is not None
            self.append(block)
        return True

    def begin_at(self, number: int) -> None:
        """Of an empty table: the first block held will be this one."""
        assert not self._held
        self.gone = number

    def cut(self, count: int) -> list[Block]:
        """No more than so many blocks; returns those behind them, which are not held any more."""
        kept = max(0, count - self.gone)
        behind = self._held[kept:]
        del self._held[kept:]
        self._num_numbers = min(self._num_numbers, len(self))
        return behind

    def let_go(self, first: int) -> list[Block]:
        """Hold nothing before the block with this number; returns what was held there."""
        count = max(0, min(first, len(self)) - self.gone)
        before = self._held[:count]
        del self._held[:count]
        self.gone += count
        return before

    def emptied(self) -> "BlockTable":
        """Another one for the same text, with nothing in it."""
        table = BlockTable(self.root)
        table.keys = self.keys
        return table
