"""A whole model in one call of the native library: layers, then the scores asked for.

Shapes: N new positions of all texts, D hidden, H heads, K kv_heads, E head_dim, R rotary_dim, F intermediate,
V vocabulary, W scored positions.
"""

from collections.abc import Callable, Sequence
from copy import copy
from ctypes import CFUNCTYPE, POINTER, addressof, byref, c_float, c_int64, c_void_p, cast
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.forward_adapters import AdapterTable
from llmkit.kernels.forward_memory import KeptMemory
from llmkit.kernels.forward_own import OwnEmbeddings, own_struct, table_of
from llmkit.kernels.forward_structs import Activation, ModelStruct, PassStruct
from llmkit.kernels.forward_weights import (
    LayerStructs,
    LayerWeights,
    NormKind,
    NormWeights,
    Residual,
    address_of,
    norm_struct,
)
from llmkit.kernels.library import finished, library
from llmkit.kernels.memory import Floats, Rows
from llmkit.kernels.packed import PackedWeight


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of a model."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    rotary_dim: int
    intermediate: int
    vocabulary: int
    activation: Activation
    gated: bool = True
    """The MLP is down(act(gate(x)) * up(x)); otherwise down(act(up(x)))."""
    norm_kind: NormKind = NormKind.RMS
    norm_all_heads: bool = False
    """Norms of queries and keys are over all heads at once."""
    norm_values: bool = False
    """Values go through a norm without a weight."""
    norm_turned: bool = False
    """They come behind the rotation."""
    chunked: bool = False
    """Windows stand side by side, and a query sees its own from its beginning on."""
    grows_unrotated: bool = False
    """`NewPositions.query_scales` are for layers without a table of angles."""
    residual: Residual = Residual.SERIAL
    epsilon: float
    """Of norms."""
    scale: float
    """What scores are multiplied with in attention."""
    softcap: float = 0.0
    """Scores s become c tanh(s / c); 0: off."""
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    """What each branch is multiplied with before it is joined."""
    gate_scale: float = 1.0
    """What the MLP's gate is multiplied with before its activation."""
    logit_scale: float = 1.0
    logit_cap: float = 0.0


@dataclass(frozen=True)
class Embedding:
    """What tokens are when they come in."""

    tokens: Rows | PackedWeight
    """(V, D) float32 or bfloat16, without gaps; or packed codes."""
    added: Floats | None = None
    """(positions, D) added to them."""


class Angles:
    """Up to two tables of cosines and sines, each (rows, R / 2), that layers choose from."""

    def __init__(self, tables: Sequence[tuple[Floats, Floats]]) -> None:
        assert all(half.flags.c_contiguous for table in tables for half in table)
        self._tables = tuple(tables)
        self.cosine, self.sine = (
            (c_void_p * 2)(*(table[half].ctypes.data for table in tables)) for half in (0, 1)
        )


@dataclass(frozen=True, slots=True)
class NewPositions:
    """What a pass computes, text after text."""

    ids: list[int]
    """(N) tokens."""
    rows: list[int]
    """(N) of the tables of angles, or of what is added to embeddings."""
    places: list[int]
    """(groups x N) rows of memory that their keys and values go to, group after group."""
    query_start: list[int]
    """(texts + 1) where each text's begin."""
    lengths: list[int]
    """(texts) positions of each, the new ones included."""
    wanted: list[int]
    """(W) which of them are scored."""
    slots: Sequence[int] = ()
    """(texts) whose states are theirs; none where no layer keeps one."""
    copies: Sequence[int] = ()
    """(N) slots that get what a text's state is after each position, -1: none does; empty: none anywhere."""
    query_scales: Floats | None = None
    """(N) what their queries are multiplied with behind their rotation; None: nothing."""


class BranchSum:
    """What the other processes of a model in parts add to a branch, as the library asks for it."""

    _FUNCTION = CFUNCTYPE(None, POINTER(c_float), c_int64)

    def __init__(self, add: Callable[[Floats], object]) -> None:
        """
        Args:
            add: adds theirs to values, in place.
        """
        self._add = add
        self._error: BaseException | None = None
        self._kept = self._FUNCTION(self._call)
        self.address = cast(self._kept, c_void_p)

    def check(self) -> None:
        """Raise what went wrong in a pass: the library knows of no exceptions."""
        if self._error is not None:
            raise self._error

    def _call(self, values: Any, count: int) -> None:
        if self._error is not None:
            return
        try:
            self._add(np.ctypeslib.as_array(values, (count,)))
        except BaseException as error:
            self._error = error


class NativeModel:
    """Packed weights, and the call that runs them. Holds everything that the library reads."""

    def __init__(
        self,
        sizes: Sizes,
        embedding: Embedding,
        layers: Sequence[LayerWeights],
        last_norm: NormWeights,
        head: PackedWeight,
        head_bias: Floats | None = None,
        own: OwnEmbeddings | None = None,
    ) -> None:
        self.sizes = sizes
        self._weights = (*(weight for layer in layers for weight in layer.matrices), head)
        structs = LayerStructs(layers, (sizes.kv_heads, sizes.head_dim, sizes.rotary_dim))
        tokens = embedding.tokens
        rows, kind = table_of(tokens, sizes.hidden)
        if isinstance(tokens, PackedWeight) and tokens is not head:
            self._weights = (*self._weights, tokens)
        own_inputs = None
        if own is not None:
            own_inputs = own_struct(own, len(layers))
            coded = (own.table,) if isinstance(own.table, PackedWeight) else ()
            self._weights = (*self._weights, own.projection, *coded)
        self._kept = (structs, embedding, last_norm, head_bias, own, own_inputs)
        self._struct = ModelStruct(
            embedding=rows,
            embedding_type=kind,
            added=address_of(embedding.added),
            layers=structs.address,
            own_inputs=None if own_inputs is None else addressof(own_inputs),
            last_norm=norm_struct(last_norm),
            head=head.struct,
            head_bias=address_of(head_bias),
            num_layers=len(layers),
            **vars(sizes),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of packed weights."""
        return sum(weight.data.nbytes for weight in self._weights)

    @property
    def rounds_inputs(self) -> bool:
        """Whether some of its products round what they are given to int8."""
        return any(weight.rounds_inputs for weight in self._weights)

    def with_head(self, head: PackedWeight) -> "NativeModel":
        """The same layers before another matrix (W, D), whose products come out as they are."""
        other = copy(self)
        other._struct = ModelStruct.from_buffer_copy(self._struct)
        other._struct.head, other._struct.head_bias = head.struct, None
        other._struct.logit_scale, other._struct.logit_cap = 1.0, 0.0
        other._struct.vocabulary = head.num_rows
        other.sizes = replace(self.sizes, vocabulary=head.num_rows, logit_scale=1.0, logit_cap=0.0)
        other._weights = (*self._weights, head)
        return other

    def forward(
        self,
        new: NewPositions,
        angles: Angles,
        memory: KeptMemory,
        block_tables: NDArray[np.int32],
        *,
        adapters: AdapterTable | None = None,
        wide: bool = True,
        branch_sum: BranchSum | None = None,
    ) -> Floats:
        """Compute new positions, keep their keys and values, and score the wanted ones.

        Args:
            new: which.
            angles: by which they are turned.
            memory: where keys and values are.
            block_tables: (groups, texts, blocks) of each text.
            adapters: of each text; None: nothing is added to the weights' products.
            wide: use every thread; a tiny model is quicker on one.
            branch_sum: of a model in parts.

        Returns:
            (W, V).

        Raises:
            MemoryError: no memory for intermediate values.
            Exception: what went wrong in `branch_sum`.
        """
        logits = np.empty((len(new.wanted), self.sizes.vocabulary), np.float32)
        texts = (new.query_start, new.lengths)
        lists = (new.ids, new.rows, new.places, *texts, new.wanted, new.slots, new.copies)
        numbers = np.array(
            [one for part in lists for one in part], np.int32
        )  # one array: each costs microseconds
        ends = accumulate((len(part) for part in lists), initial=numbers.ctypes.data // 4)
        ids, rows, places, query_start, lengths, wanted, slots, copies, _ = (4 * end for end in ends)
        assert block_tables.flags.c_contiguous and len(block_tables) == memory.num_groups
        assert len(new.places) == memory.num_groups * len(new.ids)
        step = PassStruct(
            *(ids, rows, places, angles.cosine, angles.sine, address_of(new.query_scales)),
            *memory.addresses,
            *(memory.group_of_address, block_tables.ctypes.data, memory.states.address, slots),
            *(copies if new.copies else None, query_start, lengths, wanted, logits.ctypes.data),
            *(block_tables.shape[2], memory.states.stride, *memory.row),
            *(len(new.ids), len(new.lengths), len(new.wanted)),
            *(memory.value_type, memory.block_size),
            *((0, 0, None) if adapters is None else adapters.fields),
        )
        address = None if branch_sum is None else branch_sum.address
        finished(library().llmkit_forward(byref(self._struct), byref(step), wide, address))
        if branch_sum is not None:
            branch_sum.check()
        return logits
