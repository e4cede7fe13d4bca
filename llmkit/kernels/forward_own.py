"""Embeddings of every layer's own, packed, and how the library is told of these and of other tables.

Shapes: D hidden, P numbers of a layer's own.
"""

from ctypes import addressof
from dataclasses import dataclass

from llmkit.kernels.coded import Grouping
from llmkit.kernels.forward_structs import OwnInputsStruct
from llmkit.kernels.forward_weights import NormWeights, norm_struct
from llmkit.kernels.memory import Rows
from llmkit.kernels.packed import PackedWeight

_CODED = 6
"""Of native/abi.h: rows of embeddings that are packed codes."""


@dataclass(frozen=True)
class OwnEmbeddings:
    """Of every layer's own (Gemma 4): half of a table, half made of what the first layer reads."""

    table: Rows | PackedWeight
    """(tokens, layers P) as `Embedding.tokens`."""
    projection: PackedWeight
    """(layers P, D)"""
    norm: NormWeights
    """(P)"""
    table_scale: float
    stream_scale: float

    @property
    def width(self) -> int:
        """P."""
        return len(self.norm.weight)


def table_of(rows: Rows | PackedWeight, width: int) -> tuple[int, int]:
    """Where an embedding is, and what its rows of so many numbers are."""
    if isinstance(rows, PackedWeight):
        assert isinstance(rows.packed_format, Grouping)
        return addressof(rows.struct), _CODED
    assert rows.stride == width
    return rows.address, int(rows.value_type)


def own_struct(own: OwnEmbeddings, layers: int) -> OwnInputsStruct:
    """How the library is told of them; whoever has it keeps `own` too."""
    table, kind = table_of(own.table, layers * own.width)
    scales = (own.table_scale, own.stream_scale)
    return OwnInputsStruct(table, own.projection.struct, norm_struct(own.norm), kind, own.width, *scales)
