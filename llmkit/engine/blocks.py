"""Memory of keys and values in blocks: who holds which, and which hold what again when it is asked for.

A block has room for so many positions of one text. Texts that begin alike share the blocks of what they
share: a full block is found again by the key of its content, which is made of its own ids and of the key
before it, so that equal keys mean equal texts from the first token on. A block that nobody holds keeps its
content until its memory is needed; the one unused for longest goes first. Its content may live on in a tier
behind the pool, and comes back when it is asked for.
"""

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Key = bytes
"""What a full block holds: a digest of every id up to its end, and of what else decides keys and values."""


@dataclass(eq=False, slots=True)
class Block:
    """Room for some positions. Two blocks are equal only if they are the same."""

    index: int
    """Where in the pool's memory."""
    holders: int = 0
    """Texts that hold it."""
    key: Key | None = None
    """Of its content, once it is full."""
    content: bytes = field(default=b"", repr=False)
    """What the key is the digest of: see `chain_content`."""
    before: "Block | None" = field(default=None, repr=False)
    after: "Block | None" = field(default=None, repr=False)
    """Its neighbours in the list of blocks that nobody holds."""


class Kept(NamedTuple):
    """The content of a block that a tier has."""

    content: bytes
    """As `Block.content`."""
    write: Callable[[int], None]
    """Puts keys and values into the block with this index; to be called once."""


class Tier(Protocol):
    """Memory behind the pool, for what the pool has no room for."""

    def keep(self, block: Block) -> None:
        """The memory of a block with a key is about to be another's."""

    def has(self, key: Key) -> bool:
        """Whether the tier has something under a key."""

    def find(self, key: Key) -> Kept | None:
        """What the tier has under a key, on its way into the pool."""

    def forget(self, key: Key) -> None:
        """The pool has computed this content anew."""

    def clear(self) -> None:
        """Nothing is found any more."""

    def check(self, pool: Container[Key]) -> None:
        """Raise AssertionError unless all is as it must be beside the keys that the pool has."""


class BlockPool:
    """All blocks. Taking and giving back take constant time."""

    def __init__(self, num_blocks: int, tiers: Iterable[Tier] = ()) -> None:
        """
        Args:
            num_blocks: held and free.
            tiers: asked in this order for what the pool does not have.
        """
        self.tiers = [*tiers]
        self.blocks = [Block(index) for index in range(num_blocks)]
        self._cached: dict[Key, Block] = {}
        self._ends = Block(-1)  # the list of free blocks is a ring through this one
        self._ends.before = self._ends.after = self._ends
        self.num_free = 0
        for block in self.blocks:
            self._put_free(block, last=True)

    @property
    def num_blocks(self) -> int:
        """Held and free."""
        return len(self.blocks)

    def take(self, after: Block | None = None) -> Block | None:
        """A block to write into; None where every block is held.

        Args:
            after: the block that comes before it in the text: the one that follows in memory is taken if it
                is free and empty, since what lies side by side can be read without a copy.
        """
        if not self.num_free:
            return None
        block = self._next_in_memory(after)
        if block is None:
            block = self._ends.after
        assert block is not None
        if block.key is not None:
            for tier in self.tiers:
                tier.keep(block)
        self._unlink(block)
        self._forget(block)
        block.holders = 1
        return block

    def find(self, key: Key, after: Block | None = None) -> Block | None:
        """The block with this content, now held once more; None where there is none.

        Args:
            key: of the content.
            after: see `take`, for content that comes back from a tier.
        """
        block = self._cached.get(key)
        if block is None:
            return self._bring_back(key, after)
        if not block.holders:
            self._unlink(block)
        block.holders += 1
        return block

    def has(self, key: Key) -> bool:
        """Whether `find` would find this content, if a block is free for what comes from a tier."""
        return key in self._cached or any(tier.has(key) for tier in self.tiers)

    def remember(self, block: Block, key: Key, content: bytes = b"") -> None:
        """A block that its holder has filled can be found by its content from now on.

        Of two blocks with one content the first is found.

        Args:
            block: full.
            key: of its content.
            content: what the key is made of, for those who keep it longer than the pool.
        """
        if key not in self._cached:
            for tier in self.tiers:
                tier.forget(key)
            self._name(block, key, content)

    def findable(self) -> Iterator[Block]:
        """Every block that can be found by its content."""
        yield from self._cached.values()

    def give_back(self, blocks: Sequence[Block], *, forget: bool = False) -> None:
        """End of one holder.

        Its last blocks go first when memory is needed: others need them least. Before all go those with
        nothing in them that could be found, and these in their order, so that they lie side by side again.

        Args:
            blocks: of the holder.
            forget: whether nobody will ask for what they hold, unless somebody has it now.
        """
        for block in reversed(blocks):
            block.holders -= 1
            if not block.holders:
                if forget:
                    self._forget(block)
                self._put_free(block)

    def clear(self) -> None:
        """Forget what free blocks hold, and what the tiers have."""
        for block in self.blocks:
            if not block.holders:
                self._forget(block)
        for tier in self.tiers:
            tier.clear()

    def check(self) -> None:
        """Everything that must be true of a pool at any time.

        Raises:
            AssertionError: it is not.
        """
        free: list[Block] = []
        block = self._ends.after
        while block is not None and block is not self._ends:
            free.append(block)
            block = block.after
        assert len(free) == len({one.index for one in free}) == self.num_free
        assert all((one.holders == 0) == (one in free) for one in self.blocks)
        assert all(block.key == key for key, block in self._cached.items())
        assert all(one.key is None or self._cached[one.key] is one for one in self.blocks)
        for tier in self.tiers:
            tier.check(self._cached)

    def _bring_back(self, key: Key, after: Block | None) -> Block | None:
        """A block with what a tier has under a key; None where no tier has it, or no block is free."""
        for tier in self.tiers:
            kept = tier.find(key) if self.num_free else None
            if kept is None:
                continue
            block = self.take(after)
            assert block is not None
            try:
                kept.write(block.index)
            except BaseException:
                self.give_back([block])
                raise
            self._name(block, key, kept.content)
            return block
        return None

    def _next_in_memory(self, after: Block | None) -> Block | None:
        place = -1 if after is None else after.index + 1
        if not 0 <= place < len(self.blocks):
            return None
        block = self.blocks[place]
        return block if not block.holders and block.key is None else None

    def _name(self, block: Block, key: Key, content: bytes) -> None:
        block.key, block.content = key, content
        self._cached[key] = block

    def _forget(self, block: Block) -> None:
        if block.key is not None:
            del self._cached[block.key]
            block.key, block.content = None, b""

    def _put_free(self, block: Block, *, last: bool = False) -> None:
        """Into the list of free blocks: last if it holds something, else first."""
        last = last or block.key is not None
        before, after = (self._ends.before, self._ends) if last else (self._ends, self._ends.after)
        assert before is not None and after is not None
        before.after = after.before = block
        block.before, block.after = before, after
        self.num_free += 1

    def _unlink(self, block: Block) -> None:
        assert block.before is not None and block.after is not None
        block.before.after, block.after.before = block.after, block.before
        block.before = block.after = None
        self.num_free -= 1


def root_key(*parts: str) -> Key:
    """What the first block of a text has for a parent.

    Args:
        parts: what else its keys and values depend on, and whose they are: nothing is found across these.
    """
    digest = hashlib.blake2b(digest_size=16, person=b"root")  # no content has the digest of an owner
    for part in parts:
        content = part.encode(errors="surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def group_root(root: Key, group: int) -> Key:
    """The root of a text's keys in one group of layers, see `layer_groups`.

    Args:
        root: of the text, which is that of its first group.
        group: which.
    """
    return hashlib.blake2b(root + bytes([group]), digest_size=16, person=b"group").digest() if group else root


def chain_key(parent: Key, ids: Iterable[int]) -> Key:
    """The key of a full block.

    Args:
        parent: of the block before; `root_key` for a text's first.
        ids: the tokens of the block.
    """
    return content_key(chain_content(parent, ids))


def chain_content(parent: Key, ids: Iterable[int]) -> bytes:
    """What the key of a full block is the digest of: the key before it, then each id in 4 bytes."""
    return parent + b"".join(one.to_bytes(4, "little") for one in ids)


def content_key(content: bytes) -> Key:
    """The key of a `chain_content`."""
    return hashlib.blake2b(content, digest_size=16).digest()
