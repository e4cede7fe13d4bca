"""Keys and values in a file, for the next run to find.

A safetensors file. Of N blocks of S positions it has, for tensor M of layer L of the store (where layers are
in groups, of the layers in place L, each block having those of one group):

    layers.L.M            (N, S, …)     keys and values, as the store keeps them
    ids                   (N, S) I32    the tokens of each block
    parents               (N, 16) U8    the key of the block before it, or the root of its text
    keys                  (N, 16) U8    the digest of both: what the block is found by
    digests               (N, 16) U8    of the block's bytes, looked at when it is found
    __metadata__          what they were made with

Nothing is read but headers and keys until a block is found. States stand beside them: see `saved_states`.
"""

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.block_store import ARRAYS, BlockKind, BlockStore
from llmkit.engine.blocks import Block, BlockPool, Kept, Key, content_key
from llmkit.engine.offload import HostMemory
from llmkit.engine.saved_states import KEY_BYTES, STORED_AS, damaged, is_of_states, plan_states
from llmkit.engine.state_memory import StateMemory
from llmkit.errors import DataError
from llmkit.formats.atomic import atomic_file
from llmkit.formats.model_folder import TensorInfo, read_header
from llmkit.formats.safetensors_write import Planned, write_safetensors
from llmkit.version import __version__

SCHEMA = "llmkit.prompt-cache/1"
_WORDS = {stored: name for name, stored in STORED_AS.items()}
Pages = list[NDArray[np.uint8]]
"""For each tensor of a store the bytes of blocks, (blocks, bytes)."""
ReadBlock = Callable[[int, int], NDArray[np.uint8]]
"""Of a tensor and a block its bytes."""


@dataclass(frozen=True, kw_only=True)
class MadeWith:
    """What keys and values depend on, beside the tokens."""

    model: str
    """`model_fingerprint`."""
    dtype: str
    """Of the arithmetic."""
    weights: str
    """How they were rounded when they were loaded."""
    rope_scaling: str
    block_tokens: int
    layers_in_block: int | None = None
    """Where layers are in groups, see `layer_groups`; None: all are in one."""

    def check(self, path: Path) -> None:
        """Refuse a file whose keys and values are not those that this run would compute.

        Raises:
            MissingError: there is none.
            DataError: it is another kind of file, or made with something else.
        """
        found = read_header(path).metadata
        if found.get("schema") != SCHEMA:
            raise DataError(
                f"{path}: not a prompt cache (found schema {found.get('schema')!r}, expected {SCHEMA})",
                hint="name another file with --prompt-cache",
            )
        wanted_of = self.metadata()
        for name in asdict(self):
            wanted = wanted_of.get(name)
            if found.get(name) != wanted:
                raise DataError(
                    f"{path}: made with {_NAMED.get(name, f'another {name}').replace('_', ' ')} "
                    f"(found {_short(found.get(name))}, this run has {_short(wanted)})",
                    hint=_HINTS.get(name, "name another file with --prompt-cache, or remove this one"),
                )

    def metadata(self) -> dict[str, str]:
        """As the file has it."""
        return {name: str(value) for name, value in asdict(self).items() if value is not None}


_NAMED = {"layers_in_block": "layers grouped otherwise"}
_HINTS = {
    "dtype": "the same --dtype as then, or another file with --prompt-cache",
    "weights": "the same --weights as then, or another file with --prompt-cache",
    "layers_in_block": "an earlier llmkit wrote it, or a GPU, or --tp: name another file, or remove it",
    "rope_scaling": "the same --rope-scaling as then, or another file with --prompt-cache",
}


class SavedBlocks:
    """The blocks of a file, as a tier behind a pool.

    Attributes:
        pages: for each tensor of the store the bytes of its blocks here, (blocks, bytes), mapped from the
            file.
        found: keys of the blocks that were put into the pool.
    """

    def __init__(self, path: Path, store: BlockStore) -> None:
        """
        Args:
            path: a file that `MadeWith.check` has let pass.
            store: the pool's memory.

        Raises:
            DataError: its tensors are not those of the store, or its keys not those of its tokens.
        """
        self.path = path
        self._store = store
        stored = {name: one for name, one in read_header(path).tensors.items() if not is_of_states(name)}
        self._check(stored)
        content = np.memmap(path, np.uint8, mode="c")

        def rows(name: str) -> NDArray[np.uint8]:
            one = stored[name]
            return content[one.offset : one.offset + one.nbytes].reshape(one.shape[0], -1)

        self.pages = [rows(_name(kind)) for kind in store.kinds]
        self._digests = rows("digests")
        self._contents = [
            parent.tobytes() + ids.tobytes() for parent, ids in zip(rows("parents"), rows("ids"), strict=True)
        ]
        self._places = {key.tobytes(): place for place, key in enumerate(rows("keys"))}
        self._is_open = True
        self.found: set[Key] = set()
        if any(content_key(self._contents[place]) != key for key, place in self._places.items()):
            raise damaged(path)

    def __len__(self) -> int:
        return len(self._places)

    def keep(self, block: Block) -> None:
        """Nothing: the file has what it has until it is written anew."""

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def has(self, key: Key) -> bool:
        """See `Tier.has`."""
        return self._is_open and key in self

    def find(self, key: Key) -> Kept | None:
        """See `Tier.find`; what was found stays in the file."""
        if not self.has(key):
            return None
        place = self._places[key]
        return Kept(self._contents[place], partial(self._read, key, place))

    def forget(self, key: Key) -> None:
        """Nothing, as for `keep`."""

    def clear(self) -> None:
        """See `Tier.clear`."""
        self._is_open = False

    def check(self, pool: Container[Key]) -> None:
        """Nothing can come to be wrong."""

    def contents(self) -> Iterator[tuple[Key, int, bytes]]:
        """What was found: its key, its place in `pages`, and what the key is made of."""
        for key, place in self._places.items():
            if key in self.found:
                yield key, place, self._contents[place]

    def _read(self, key: Key, place: int, block: int) -> None:
        digest = hashlib.blake2b(digest_size=KEY_BYTES)
        for number in _file_order(self._store.kinds):
            content = self.pages[number][place]
            digest.update(content)
            self._store.write_block(number, block, content)
        if digest.digest() != self._digests[place].tobytes():
            raise damaged(self.path)
        self.found.add(key)

    def _check(self, stored: Mapping[str, TensorInfo]) -> None:
        """Every tensor is there, as the store has it."""
        kinds, size = self._store.kinds, self._store.block_tokens
        of_layers = {one.dtype for one in stored.values() if one.name.startswith("layers.")}
        found = ", ".join(sorted(_WORDS.get(one, one) for one in of_layers))
        wanted = ", ".join(sorted({kind.dtype for kind in kinds}))
        if found != wanted:
            raise DataError(
                f"{self.path}: keys and values of another dtype (found {found}, this run keeps {wanted})",
                hint="keep them as then, or name another file with --prompt-cache",
            )
        count = stored["keys"].shape[0] if "keys" in stored and stored["keys"].shape else 0
        own = ("parents", "keys", "digests")
        shapes: dict[str, tuple[str, tuple[int, ...]]] = dict.fromkeys(own, ("U8", (count, KEY_BYTES)))
        shapes["ids"] = "I32", (count, size)
        shapes |= {_name(kind): (STORED_AS[kind.dtype], (count, size, *kind.shape)) for kind in kinds}
        if not count or {name: (one.dtype, one.shape) for name, one in stored.items()} != shapes:
            raise damaged(self.path)


def save_blocks(
    path: Path,
    store: BlockStore,
    pool: BlockPool,
    made_with: MadeWith,
    *,
    host: HostMemory | None = None,
    saved: SavedBlocks | None = None,
    memory: StateMemory | None = None,
) -> None:
    """Write every block that can be found, to a file that is whole or stays as it was.

    Args:
        path: of the file; nothing is written where it has every block already, or where there is no block
            to save.
        store: the pool's memory.
        pool: whose blocks.
        made_with: for those who read it.
        host: memory behind the pool, whose blocks are written too.
        saved: what was read at the beginning, of which those blocks are written that were found.
        memory: of states, where layers keep one: those at the ends of the blocks are written.
    """
    parts: list[tuple[ReadBlock, list[int]]] = []
    entries: dict[Key, bytes] = {}
    in_pool = ((block.key or b"", block.index, block.content) for block in pool.findable() if block.content)
    sources: list[tuple[ReadBlock, Iterable[tuple[Key, int, bytes]]]] = [(store.read_block, in_pool)]
    sources += [(_reading(one.pages), one.contents()) for one in (host, saved) if one is not None]
    for read, contents in sources:
        places = []
        for key, place, content in contents:
            if key not in entries:
                entries[key] = content
                places.append(place)
        parts.append((read, places))
    states = {key: read for key, read in (() if memory is None else memory.contents()) if key in entries}
    has_blocks = saved is not None and all(key in saved for key in entries)
    if not entries or (has_blocks and (memory is None or memory.has_saved(states))):
        return
    with atomic_file(path) as stream:
        metadata = {"schema": SCHEMA, **made_with.metadata(), "llmkit": __version__}
        of_states = () if memory is None else plan_states(memory.slots, states)
        write_safetensors(stream, chain(_plan(parts, entries, store), of_states), metadata)


def _plan(
    parts: list[tuple[ReadBlock, list[int]]], entries: dict[Key, bytes], store: BlockStore
) -> Iterator[Planned]:
    """The tensors of a file; the digests come last, made of all the others."""
    count, size = len(entries), store.block_tokens
    digests = [hashlib.blake2b(digest_size=KEY_BYTES) for _ in entries]

    def values(number: int) -> Iterator[memoryview]:
        digest = iter(digests)
        for read, places in parts:
            for place in places:
                content = read(number, place).data
                next(digest).update(content)
                yield content

    def whole(make: Callable[[], Iterable[bytes]]) -> Callable[[], Iterable[bytes | memoryview]]:
        return lambda: [b"".join(make())]

    for number in _file_order(store.kinds):
        kind = store.kinds[number]
        yield Planned(_name(kind), STORED_AS[kind.dtype], (count, size, *kind.shape), partial(values, number))
    ids = whole(lambda: (content[KEY_BYTES:] for content in entries.values()))
    parents = whole(lambda: (content[:KEY_BYTES] for content in entries.values()))
    yield Planned("ids", "I32", (count, size), ids)
    yield Planned("parents", "U8", (count, KEY_BYTES), parents)
    yield Planned("keys", "U8", (count, KEY_BYTES), whole(lambda: entries))
    yield Planned("digests", "U8", (count, KEY_BYTES), whole(lambda: (one.digest() for one in digests)))


def _reading(pages: Pages) -> ReadBlock:
    return lambda number, place: pages[number][place]


def _name(kind: BlockKind) -> str:
    """Of a store's tensor, in a file."""
    return f"layers.{kind.layer}.{kind.number}"


def _file_order(kinds: Sequence[BlockKind]) -> list[int]:
    """The order that the tensors have in a file, and digests are made in: see `write_safetensors`."""
    return sorted(range(len(kinds)), key=lambda number: -ARRAYS[kinds[number].dtype].itemsize)


def _short(value: str | None) -> str:
    """Without the most of a digest."""
    return "none" if value is None else value if len(value) != 64 else value[:12]
