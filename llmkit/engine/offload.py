"""Host memory behind the pool: what the pool has no room for is copied there, and back when it is asked for.

Content is in the pool or here, never in both. Where room runs out, what came first goes first: of a text its
end before its beginning, as the pool gives up its blocks. Worth it on the CPU too, where a small pool is what
texts at work compete for.
"""

from collections.abc import Container, Iterator
from functools import partial

from llmkit.engine.block_store import BlockStore
from llmkit.engine.blocks import Block, Kept, Key
from llmkit.errors import ConfigError
from llmkit.kernels.memory import fresh_bytes


class HostMemory:
    """A tier of blocks on the CPU, as many as a number of bytes has room for.

    Attributes:
        pages: for each tensor of the store the bytes of its blocks here, (blocks, bytes), in the same order.
            Memory that was never written is not taken.
        kept, restored, dropped: blocks that came, that went back, and that were lost for want of room.
    """

    def __init__(self, store: BlockStore, max_bytes: int) -> None:
        """
        Args:
            store: the pool's memory.
            max_bytes: of the pages, all together.

        Raises:
            ConfigError: not even one block has room.
        """
        self._store = store
        sizes = [kind.position_bytes * store.block_tokens for kind in store.kinds]
        block_bytes = sum(sizes)
        if max_bytes < block_bytes:
            raise ConfigError(
                f"{max_bytes:,} bytes of host memory for the cache are less than one block "
                f"(found {block_bytes:,} bytes a block)",
                hint=f"--cache-offload {block_bytes * 1024}, or leave it out",
            )
        num_blocks = max_bytes // block_bytes
        self.pages = [fresh_bytes(num_blocks * size).reshape(num_blocks, size) for size in sizes]
        self.kept = self.restored = self.dropped = 0
        self._places: dict[Key, tuple[int, bytes]] = {}  # the one that came first is first
        self._empty = [*reversed(range(num_blocks))]

    @property
    def num_blocks(self) -> int:
        """Full and empty."""
        return len(self.pages[0])

    @property
    def nbytes(self) -> int:
        """Bytes that all blocks may take."""
        return sum(page.nbytes for page in self.pages)

    def keep(self, block: Block) -> None:
        """Copy a block of the pool."""
        assert block.key is not None
        place = self._room()
        if place is None:
            return
        for number, page in enumerate(self.pages):
            page[place] = self._store.read_block(number, block.index)
        self._places[block.key] = place, block.content
        self.kept += 1

    def has(self, key: Key) -> bool:
        """See `Tier.has`."""
        return key in self._places

    def find(self, key: Key) -> Kept | None:
        """What is here under a key; it leaves with this call."""
        if key not in self._places:
            return None
        place, content = self._places.pop(key)
        return Kept(content, partial(self._restore, place))

    def forget(self, key: Key) -> None:
        """See `Tier.forget`."""
        if key in self._places:
            self._empty.append(self._places.pop(key)[0])

    def clear(self) -> None:
        """See `Tier.clear`."""
        for key in [*self._places]:
            self.forget(key)

    def contents(self) -> Iterator[tuple[Key, int, bytes]]:
        """What is here: its key, its place in `pages`, and what the key is made of."""
        for key, (place, content) in self._places.items():
            yield key, place, content

    def check(self, pool: Container[Key]) -> None:
        """See `Tier.check`: content has one place, and a place one content or none."""
        assert not any(key in pool for key in self._places)
        places = [*self._empty, *(place for place, _ in self._places.values())]
        assert sorted(places) == [*range(self.num_blocks)]
        assert self.kept >= self.restored + self.dropped + len(self._places)

    def _room(self) -> int | None:
        """An empty place, made empty where that takes it; None while the only one is on its way out."""
        if not self._empty and self._places:
            self.forget(next(iter(self._places)))
            self.dropped += 1
        return self._empty.pop() if self._empty else None

    def _restore(self, place: int, block: int) -> None:
        self._empty.append(place)
        for number, page in enumerate(self.pages):
            self._store.write_block(number, block, page[place])
        self.restored += 1
