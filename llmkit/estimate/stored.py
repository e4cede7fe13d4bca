"""Bytes of a model's tensors, what decides them, and the plainest way: every number in one dtype."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

from llmkit.estimate.architecture import Architecture, Part
from llmkit.estimate.dtypes import STORAGE

INDEX = "index"
"""The name of bytes that are in the files and in no product: shapes, orders, code tables."""


class Stored(NamedTuple):
    """Bytes of one tensor, or of a part of one."""

    part: Part
    format: str
    nbytes: float
    """Half bytes only where int4 numbers alone do not fill one."""


class Scheme(Protocol):
    """A way to store a model's weights."""

    @property
    def name(self) -> str:
        """As a user types it, or as a config.json says."""

    def stored(self, architecture: Architecture) -> Iterator[Stored]:
        """The bytes of every tensor."""


class NumbersAlone(msgspec.Struct, frozen=True):
    """Every tensor in one dtype; for fp8, int8 and int4 the numbers without their scales."""

    name: str

    def stored(self, architecture: Architecture) -> Iterator[Stored]:
        """The bytes of every tensor."""
        for tensor in architecture.tensors:
            yield Stored(tensor.part, self.name, tensor.numel * STORAGE[self.name].bytes_per_value)
