"""States in a prompt cache's file, beside its blocks: what `StateMemory` finds when it has none of its own.

Of M states the file has, for tensor N of a text's state:

    states.N         (M, …)       as they are kept: by PyTorch in one or two for each layer, by the kernels in
                                  one for all
    state_keys       (M, 16) U8   the key of the block that ends where the state was kept
    state_digests    (M, 16) U8   of the state's bytes, looked at when it is found

A file of a model without layers of state, or with no state in it, has none of these.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.block_store import ARRAYS
from llmkit.engine.blocks import Key
from llmkit.errors import DataError
from llmkit.formats.model_folder import CONFIG_DTYPES, TensorInfo, read_header
from llmkit.formats.safetensors_write import Planned

KEY_BYTES = 16
STORED_AS = {name: stored for stored, name in {**CONFIG_DTYPES, "I8": "int8"}.items()}
"""What safetensors calls a dtype."""
ReadState = Callable[[int], NDArray[np.uint8]]
"""The bytes of a state in one of its tensors, by its number."""


class StateKind(NamedTuple):
    """One tensor of a text's state."""

    dtype: str
    shape: tuple[int, ...]


class StateSlots(Protocol):
    """Room for so many states.

    Attributes:
        kinds: of every tensor of a state.
    """

    kinds: list[StateKind]

    def copy(self, source: int, target: int) -> None:
        """A second text from where the first is."""

    def read(self, number: int, slot: int) -> NDArray[np.uint8]:
        """The bytes of a state in one of its tensors, by its place in `kinds`; they may change with it."""

    def write(self, number: int, slot: int, content: NDArray[np.uint8]) -> None:
        """Put bytes into a tensor of a state."""


class SavedStates:
    """The states of a file.

    Attributes:
        found: keys of those that were gone on from, in this order.
    """

    def __init__(self, path: Path, slots: StateSlots) -> None:
        """
        Args:
            path: a file that `MadeWith.check` has let pass.
            slots: where states go.

        Raises:
            DataError: its tensors are not those of the slots.
        """
        self._path, self._slots = path, slots
        self.found: dict[Key, None] = {}
        stored = {name: one for name, one in read_header(path).tensors.items() if is_of_states(name)}
        self._check(stored)
        self._places: dict[Key, int] = {}
        if not stored:
            return
        content = np.memmap(path, np.uint8, mode="c")

        def rows(name: str) -> NDArray[np.uint8]:
            one = stored[name]
            return content[one.offset : one.offset + one.nbytes].reshape(one.shape[0], -1)

        self._pages = [rows(_name(number)) for number in range(len(slots.kinds))]
        self._digests = rows("state_digests")
        self._places = {key.tobytes(): place for place, key in enumerate(rows("state_keys"))}

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def write(self, key: Key, slot: int) -> None:
        """Put a state into a slot.

        Raises:
            DataError: it is damaged.
        """
        read = partial(self._read, self._places[key])
        digest = hashlib.blake2b(digest_size=KEY_BYTES)
        for number in _file_order(self._slots):
            content = read(number)
            digest.update(content.data)
            self._slots.write(number, slot, content)
        if digest.digest() != self._digests[self._places[key]].tobytes():
            raise damaged(self._path)
        self.found[key] = None

    def contents(self) -> Iterator[tuple[Key, ReadState]]:
        """Those that were gone on from."""
        for key in self.found:
            yield key, partial(self._read, self._places[key])

    def _read(self, place: int, number: int) -> NDArray[np.uint8]:
        return self._pages[number][place]

    def _check(self, stored: Mapping[str, TensorInfo]) -> None:
        """Every tensor is there, as the slots have it; or none is."""
        if not stored:
            return
        keys = stored.get("state_keys")
        count = 0 if keys is None or not keys.shape else keys.shape[0]
        wanted = {
            _name(number): (STORED_AS[kind.dtype], (count, *kind.shape))
            for number, kind in enumerate(self._slots.kinds)
        }
        found = {name: (one.dtype, one.shape) for name, one in stored.items()}
        own = {name: found.pop(name, None) for name in ("state_keys", "state_digests")}
        if not count or {*own.values()} != {("U8", (count, KEY_BYTES))}:
            raise damaged(self._path)
        if found != wanted:
            raise DataError(
                f"{self._path}: states of another dtype, or as other kernels keep them",
                hint="--kernels and --dtype as then, or name another file with --prompt-cache",
            )


def plan_states(slots: StateSlots, states: Mapping[Key, ReadState]) -> Iterator[Planned]:
    """The tensors of states in a file; the digests come last, made of all the others."""
    if not states:
        return
    count, digests = len(states), [hashlib.blake2b(digest_size=KEY_BYTES) for _ in states]

    def values(number: int) -> Iterator[memoryview]:
        for read, digest in zip(states.values(), digests, strict=True):
            content = read(number).data
            digest.update(content)
            yield content

    def made() -> Iterable[bytes]:
        return [b"".join(one.digest() for one in digests)]

    for number in _file_order(slots):
        kind = slots.kinds[number]
        yield Planned(_name(number), STORED_AS[kind.dtype], (count, *kind.shape), partial(values, number))
    yield Planned("state_keys", "U8", (count, KEY_BYTES), lambda: [b"".join(states)])
    yield Planned("state_digests", "U8", (count, KEY_BYTES), made)


def is_of_states(name: str) -> bool:
    """Whether a tensor of a prompt cache is one of these."""
    return name.startswith("states.") or name in ("state_keys", "state_digests")


def damaged(path: Path) -> DataError:
    """Of a prompt cache."""
    return DataError(f"{path}: this prompt cache is damaged", hint="remove it: the next run writes it anew")


def _name(number: int) -> str:
    return f"states.{number}"


def _file_order(slots: StateSlots) -> list[int]:
    """The order that the tensors have in a file, and digests are made in: see `write_safetensors`."""
    return sorted(range(len(slots.kinds)), key=lambda number: -ARRAYS[slots.kinds[number].dtype].itemsize)
