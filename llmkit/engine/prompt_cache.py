"""Keys and values in a file, for the next run to find.

A safetensors file. Of N blocks of S positions it has, for tensor M of layer L of the store:

    layers.L.M            (N, S, …)     keys and values, as the store keeps them
    ids                   (N, S) I32    the tokens of each block
    parents               (N, 16) U8    the key of the block before it, or the root of its text
    keys                  (N, 16) U8    the digest of both: what the block is found by
    digests               (N, 16) U8    of the block's bytes in all layers, looked at when it is found
    __metadata__          what they were made with

Nothing is read but headers and keys until a block is found.
"""

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from llmkit.engine.blocks import Block, BlockPool, Kept, Key, content_key
from llmkit.engine.offload import HostMemory
from llmkit.engine.store import KVStore
from llmkit.errors import DataError
from llmkit.formats.atomic import atomic_file
from llmkit.formats.model_folder import read_header
from llmkit.formats.safetensors_write import Planned, write_safetensors
from llmkit.version import __version__

SCHEMA = "llmkit.prompt-cache/1"
_KEY_BYTES = 16
_NAMES = {
    **{torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int32: "I32"},
    **{torch.int8: "I8", torch.uint8: "U8", torch.int16: "I16"},
    **{torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"},
}


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
        for name, wanted in self.metadata().items():
            if found.get(name) != wanted:
                raise DataError(
                    f"{path}: made with another {name.replace('_', ' ')} "
                    f"(found {_short(found.get(name))}, this run has {_short(wanted)})",
                    hint=_HINTS.get(name, "name another file with --prompt-cache, or remove this one"),
                )

    def metadata(self) -> dict[str, str]:
        """As the file has it."""
        return {name: str(value) for name, value in asdict(self).items()}


_HINTS = {
    "dtype": "the same --dtype as then, or another file with --prompt-cache",
    "weights": "the same --weights as then, or another file with --prompt-cache",
    "rope_scaling": "the same --rope-scaling as then, or another file with --prompt-cache",
}


class SavedBlocks:
    """The blocks of a file, as a tier behind a pool.

    Attributes:
        pages: for each tensor of the store one of (blocks, block_tokens, …), mapped from the file.
        found: keys of the blocks that were put into the pool.
    """

    def __init__(self, path: Path, store: KVStore) -> None:
        """
        Args:
            path: a file that `MadeWith.check` has let pass.
            store: the pool's memory.

        Raises:
            DataError: its tensors are not those of the store, or its keys not those of its tokens.
        """
        self.path = path
        self._theirs = store.by_block
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        self._check(stored, store)  # the tensors are mapped, not read
        self.pages = [stored[name] for name in _names(store)]
        self._digests = stored["digests"]
        self._contents = [
            parent.tobytes() + ids.tobytes()
            for parent, ids in zip(stored["parents"].numpy(), stored["ids"].numpy(), strict=True)
        ]
        self._places = {key.tobytes(): place for place, key in enumerate(stored["keys"].numpy())}
        self._is_open = True
        self.found: set[Key] = set()
        if any(content_key(self._contents[place]) != key for key, place in self._places.items()):
            raise _damaged(path)

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def keep(self, block: Block) -> None:
        """Nothing: the file has what it has until it is written anew."""

    def find(self, key: Key) -> Kept | None:
        """See `Tier.find`; what was found stays in the file."""
        place = self._places.get(key) if self._is_open else None
        return None if place is None else Kept(self._contents[place], partial(self._read, key, place))

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
        digest = hashlib.blake2b(digest_size=_KEY_BYTES)
        for number in _file_order(self.pages):
            digest.update(_bytes(self.pages[number][place]))
            self._theirs[number][block].copy_(self.pages[number][place])
        if digest.digest() != self._digests[place].numpy().tobytes():
            raise _damaged(self.path)
        self.found.add(key)

    def _check(self, stored: dict[str, Tensor], store: KVStore) -> None:
        """Every tensor is there, as the store has it."""
        values = [name for name in stored if name.startswith("layers.")]
        found, wanted = (
            ", ".join(sorted({str(one.dtype).removeprefix("torch.") for one in tensors}))
            for tensors in ([stored[name] for name in values], self._theirs)
        )
        if found != wanted:
            raise DataError(
                f"{self.path}: keys and values of another dtype (found {found}, this run keeps {wanted})",
                hint="keep them as then, or name another file with --prompt-cache",
            )
        count = len(stored["keys"]) if "keys" in stored else 0
        own = ("parents", "keys", "digests")
        shapes: dict[str, tuple[object, ...]] = dict.fromkeys(own, (torch.uint8, (count, _KEY_BYTES)))
        shapes["ids"] = torch.int32, (count, store.block_tokens)
        for name, theirs in zip(_names(store), self._theirs, strict=True):
            shapes[name] = theirs.dtype, (count, *theirs.shape[1:])
        if {name: (one.dtype, tuple(one.shape)) for name, one in stored.items()} != shapes:
            raise _damaged(self.path)


def save_blocks(
    path: Path,
    store: KVStore,
    pool: BlockPool,
    made_with: MadeWith,
    *,
    host: HostMemory | None = None,
    saved: SavedBlocks | None = None,
) -> int:
    """Write every block that can be found, to a file that is whole or stays as it was.

    Args:
        path: of the file; nothing is written where it has every block already, or where there is none.
        store: the pool's memory.
        pool: whose blocks.
        made_with: for those who read it.
        host: memory behind the pool, whose blocks are written too.
        saved: what was read at the beginning, of which those blocks are written that were found.

    Returns:
        Number of blocks written; 0: the file was left as it was.
    """
    parts: list[tuple[list[Tensor], list[int]]] = []
    entries: dict[Key, bytes] = {}
    in_pool = ((block.key or b"", block.index, block.content) for block in pool.findable() if block.content)
    sources: list[tuple[list[Tensor], Iterable[tuple[Key, int, bytes]]]] = [(store.by_block, in_pool)]
    sources += [(one.pages, one.contents()) for one in (host, saved) if one is not None]
    for pages, contents in sources:
        places = []
        for key, place, content in contents:
            if key not in entries:
                entries[key] = content
                places.append(place)
        parts.append((pages, places))
    if not entries or (saved is not None and all(key in saved for key in entries)):
        return 0
    with atomic_file(path) as stream:
        metadata = {"schema": SCHEMA, **made_with.metadata(), "llmkit": __version__}
        write_safetensors(stream, _plan(_names(store), parts, entries, store), metadata)
    return len(entries)


def _plan(
    names: Sequence[str],
    parts: list[tuple[list[Tensor], list[int]]],
    entries: dict[Key, bytes],
    store: KVStore,
) -> Iterator[Planned]:
    """The tensors of a file; the digests come last, made of all the others."""
    count, size = len(entries), store.block_tokens
    digests = [hashlib.blake2b(digest_size=_KEY_BYTES) for _ in entries]

    def values(number: int) -> Iterator[memoryview]:
        digest = iter(digests)
        for pages, places in parts:
            for block in pages[number][places].cpu():
                content = _bytes(block)
                next(digest).update(content)
                yield content

    def whole(make: Callable[[], Iterable[bytes]]) -> Callable[[], Iterable[bytes | memoryview]]:
        return lambda: [b"".join(make())]

    for number in _file_order(pages := store.by_block):
        shape = (count, *pages[number].shape[1:])
        yield Planned(names[number], _NAMES[pages[number].dtype], shape, partial(values, number))
    ids = whole(lambda: (content[_KEY_BYTES:] for content in entries.values()))
    parents = whole(lambda: (content[:_KEY_BYTES] for content in entries.values()))
    yield Planned("ids", "I32", (count, size), ids)
    yield Planned("parents", "U8", (count, _KEY_BYTES), parents)
    yield Planned("keys", "U8", (count, _KEY_BYTES), whole(lambda: entries))
    yield Planned("digests", "U8", (count, _KEY_BYTES), whole(lambda: (one.digest() for one in digests)))


def _names(store: KVStore) -> list[str]:
    """Of the tensors of `KVStore.by_block`, in a file."""
    return [
        f"layers.{layer}.{number}" for layer, held in enumerate(store.layers) for number in range(len(held))
    ]


def _file_order(pages: Sequence[Tensor]) -> list[int]:
    """The order that the tensors have in a file, and digests are made in: see `write_safetensors`."""
    return sorted(range(len(pages)), key=lambda number: -pages[number].element_size())


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().view(torch.uint8).numpy().data


def _short(value: str | None) -> str:
    """Without the most of a digest."""
    return "none" if value is None else value if len(value) != 64 else value[:12]


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: this prompt cache is damaged", hint="remove it: the next run writes it anew")
