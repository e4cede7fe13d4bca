"""The memory of keys and values: tensors of positions, cut into blocks that are of one group of layers each.

Shapes: P positions of the pool, S positions of a text, T new ones, K key/value heads, E head_dim,
W kv_lora_rank + qk_rope_head_dim.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.engine.block_store import block_kinds, part_of_row
from llmkit.engine.kv_codes import decode, encode
from llmkit.engine.layer_groups import LayerGroups, one_group
from llmkit.engine.state_store import StateGroup, StateStore
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import dtype_name
from llmkit.model.held import Both
from llmkit.model.layout import Layout, Span, layout_mask
from llmkit.model.recurrent.held import StateRows
from llmkit.model.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class PagedSpan(Span):
    """New positions of one text, and where its blocks are."""

    first: int = 0
    """Where they begin among the new positions of all texts."""
    tables: tuple[NDArray[np.int32], ...] = ()
    """Its blocks, in each group of layers."""
    state: int = -1
    """Where its state is; -1 for a model without layers of state."""


class KVStore:
    """Room for keys and values of so many blocks, each of a group of layers, as tensors. See `BlockStore`.

    Memory that was never written is not taken: the tensors are as large as they may become.

    Attributes:
        layers: of each layer the tensors (P, ...): keys and values (K, E), and with int8 the scales (K) of
            both after them; or the one row (W) that latent attention makes both of. Layers in the same place
            of two groups share tensors: their blocks are others. Layers of state have none.
        states: of texts; None for a model without layers of state.
        group_of: of each layer the group.
        dtype: of keys and values; int8 is `kv_codes`.
        device: where it is, and which one of several.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_blocks: int,
        block_tokens: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        groups: LayerGroups | None = None,
        slots: int = 1,
    ) -> None:
        """
        Args:
            config: of the model.
            num_blocks: of the pool.
            block_tokens: positions of a block.
            dtype: of keys and values.
            device: where they are.
            groups: of the layers; None: all are in one.
            slots: states that there is room for, where layers keep one.

        Raises:
            ConfigError: int8, where a model keeps other than keys and values of heads.
        """
        groups = groups or one_group(config)
        self.kinds = block_kinds(config, dtype_name(dtype), groups.layers_in_block)
        self.config = config
        self.group_of = groups.group_of
        self.block_tokens = block_tokens
        self.dtype = dtype
        self.device = torch.empty(0, device=device).device
        rows = num_blocks * block_tokens
        made = [
            torch.empty((rows, *kind.shape), dtype=getattr(torch, kind.dtype), device=device)
            for kind in self.kinds
        ]
        each = len(block_kinds(config, dtype_name(dtype), 1))
        by_place = [tuple(made[begin : begin + each]) for begin in range(0, len(made), each)]
        self.layers = [
            () if place < 0 else self._part(layer, groups.slot(layer), by_place[place])
            for layer, place in enumerate(groups.place_of)
        ]
        self.states = None
        if config.state_layers:
            kept = torch.float32 if dtype == torch.int8 else dtype
            self.states = StateStore(config, slots, kept, device)
        self.by_block = [one.unflatten(0, (-1, block_tokens)) for one in made]
        """Views of every one of `kinds`, with the block as their first dimension."""

    def _part(self, layer: int, slot: int, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Of a place's tensors what is a layer's."""
        if self.config.full_heads is None:
            return rows
        parts = []
        for number, tensor in enumerate(rows):
            first, shape = part_of_row(self.config, layer, slot, number)
            parts.append(tensor[:, first : first + prod(shape)].unflatten(1, shape))
        return tuple(parts)

    @property
    def nbytes(self) -> int:
        """See `BlockStore`."""
        states = 0 if self.states is None else self.states.nbytes
        return states + sum(tensor.nbytes for tensor in self.by_block)

    def read_block(self, number: int, block: int) -> NDArray[np.uint8]:
        """See `BlockStore`."""
        return self.by_block[number][block].cpu().flatten().view(torch.uint8).numpy()

    def write_block(self, number: int, block: int, content: NDArray[np.uint8]) -> None:
        """See `BlockStore`."""
        place = self.by_block[number][block]
        place.copy_(torch.from_numpy(content).view(place.dtype).view(place.shape))

    def rows(self, span: PagedSpan, group: int = 0, first: int = 0) -> slice | Tensor:
        """Where the positions of a text are: a slice where its blocks lie side by side.

        Args:
            span: of the text.
            group: of layers.
            first: the first of them; what stands before it need not be held.
        """
        size = self.block_tokens
        table = span.tables[group][first // size : -(-span.end // size)]
        skipped = first % size
        if (np.diff(table) == 1).all():
            begin = int(table[0]) * size
            return slice(begin + skipped, begin + span.end - first + skipped)
        blocks = torch.from_numpy(table.astype(np.int64)).to(self.device)
        places = blocks[:, None] * size + torch.arange(size, device=blocks.device)
        return places.flatten()[skipped : skipped + span.end - first]

    def keep(self, layer: int, number: int, rows: slice | Tensor, fresh: Tensor) -> None:
        """Put numbers into a layer's tensor: keys are number 0, values 1. fresh: (rows, ...)."""
        held = self.layers[layer]
        if self.dtype == torch.int8:
            held[number][rows], held[number + 2][rows] = encode(fresh)
        else:
            held[number][rows] = fresh.to(self.dtype)

    def kept(self, layer: int, number: int, rows: slice | Tensor, dtype: torch.dtype) -> Tensor:
        """What a layer's tensor holds: (rows, ...) of a dtype."""
        held = self.layers[layer]
        if self.dtype == torch.int8:
            return decode(held[number][rows], held[number + 2][rows], dtype)
        return held[number][rows].to(dtype)


class PagedCache:
    """The store as the model sees it in one pass over the new positions of several texts, laid end to end."""

    def __init__(self, store: KVStore, spans: Sequence[PagedSpan], state_copies: Sequence[int] = ()) -> None:
        """
        Args:
            store: the memory.
            spans: of each text.
            state_copies: see `StateStore.groups`.
        """
        self._spans = spans
        self._store = store
        self._rows: dict[tuple[int, int, int], slice | Tensor] = {}
        self._masks: dict[tuple[int, Window], Tensor | None] = {}
        config = store.config
        self.layers: list[PagedLayer | PagedState | Both] = [
            PagedState(self, index)
            if index in config.layers_without_keys
            else Both(PagedLayer(self, index), PagedState(self, index))
            if index in config.state_layers
            else PagedLayer(self, index)
            for index in range(config.num_hidden_layers)
        ]
        self._state_groups: list[StateGroup] = []
        if store.states is not None:
            self._state_groups = store.states.groups(spans, [span.state for span in spans], state_copies)
            for span in spans:
                if not span.start:
                    store.states.begin(span.state)

    def spans(self, count: int) -> Sequence[PagedSpan]:
        """Where the new positions stand."""
        return self._spans

    def advance(self, count: int) -> None:
        """Nothing: each text's owner counts its positions."""

    def extend(
        self, layer: int, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """Keep the new positions of every text, and give back text by text all of it that these see.

        Args:
            layer: whose.
            new: each (1, K, T, E), or (1, T, W) for latent attention.
            layout: of the layer's kind.

        Yields:
            Which of the new positions are a text's; each kept tensor with all of its positions that they see,
            in the shape of the new ones with S for T; and which of them each new position sees.
        """
        store = self._store
        for number, span in enumerate(self._spans):
            part = slice(span.first, span.first + span.count)
            first = layout.window.first_seen(span.start)
            rows = self._rows_from(number, store.group_of[layer], first)
            everything = []
            for kind, tensor in enumerate(new):
                fresh = tensor[0, :, part].transpose(0, 1) if tensor.dim() == 4 else tensor[0, part]
                store.keep(layer, kind, _from(rows, span.start - first), fresh)
                whole = store.kept(layer, kind, rows, tensor.dtype)
                everything.append((whole.transpose(0, 1) if tensor.dim() == 4 else whole)[None])
            # the layout of a lone text has its mask already
            mask = layout.mask if len(self._spans) == 1 else self._mask(number, layout)
            yield part, everything, mask if mask is None else mask[..., first:]

    def states(self, layer: int) -> Iterator[StateRows]:
        """The states of every text in a layer that keeps one."""
        assert self._store.states is not None
        return self._store.states.rows(layer, self._state_groups)

    def _rows_from(self, number: int, group: int, first: int) -> slice | Tensor:
        key = number, group, first
        if key not in self._rows:
            self._rows[key] = self._store.rows(self._spans[number], group, first)
        return self._rows[key]

    def _mask(self, number: int, layout: Layout) -> Tensor | None:
        key = number, layout.window
        if key not in self._masks:
            span, device = self._spans[number], self._store.device
            self._masks[key] = layout_mask(span.start, span.count, device, window=layout.window)
        return self._masks[key]


@dataclass(frozen=True, slots=True)
class PagedLayer:
    """One layer of a PagedCache."""

    cache: PagedCache
    index: int

    def extend(
        self, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """See `PagedCache.extend`."""
        return self.cache.extend(self.index, new, layout)


@dataclass(frozen=True, slots=True)
class PagedState:
    """One layer of a PagedCache that keeps a state."""

    cache: PagedCache
    index: int

    def rows(self) -> Iterator[StateRows]:
        """See `StateLayer`."""
        return self.cache.states(self.index)


def _from(rows: slice | Tensor, start: int) -> slice | Tensor:
    """Without the first `start`."""
    return rows[start:] if isinstance(rows, Tensor) else slice(rows.start + start, rows.stop)
