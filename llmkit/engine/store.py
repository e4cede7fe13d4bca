"""The memory of keys and values: for each layer one tensor of positions, cut into blocks.

Shapes: P positions of the pool, S positions of a text, T new ones, K key/value heads, E head_dim,
W kv_lora_rank + qk_rope_head_dim.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.engine.block_store import block_kinds
from llmkit.engine.kv_codes import decode, encode
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import dtype_name
from llmkit.model.layout import Layout, Span, layout_mask


@dataclass(frozen=True, slots=True)
class PagedSpan(Span):
    """New positions of one text, and where its blocks are."""

    first: int = 0
    """Where they begin among the new positions of all texts."""
    table: tuple[int, ...] = ()
    """Its blocks."""


class KVStore:
    """Room for keys and values of so many blocks, in every layer, as tensors on a device. See `BlockStore`.

    Memory that was never written is not taken: the tensors are as large as they may become.

    Attributes:
        layers: of each layer the tensors (P, ...): keys and values (K, E), and with int8 the scales (K) of
            both after them; or the one row (W) that latent attention makes both of.
        dtype: of keys and values; int8 is `kv_codes`.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_blocks: int,
        block_tokens: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Raises:
            ConfigError: int8, where a model keeps other than keys and values of heads.
        """
        self.kinds = block_kinds(config, dtype_name(dtype))
        self.config = config
        self.block_tokens = block_tokens
        self.dtype = dtype
        rows = num_blocks * block_tokens
        made = [
            torch.empty((rows, *kind.shape), dtype=getattr(torch, kind.dtype), device=device)
            for kind in self.kinds
        ]
        each = len(made) // config.num_hidden_layers
        self.layers = [tuple(made[first : first + each]) for first in range(0, len(made), each)]
        self.by_block = [one.unflatten(0, (-1, block_tokens)) for one in made]
        """Views of every tensor of every layer, with the block as their first dimension."""

    @property
    def nbytes(self) -> int:
        """See `BlockStore`."""
        return sum(tensor.nbytes for layer in self.layers for tensor in layer)

    def read_block(self, number: int, block: int) -> NDArray[np.uint8]:
        """See `BlockStore`."""
        return self.by_block[number][block].cpu().flatten().view(torch.uint8).numpy()

    def write_block(self, number: int, block: int, content: NDArray[np.uint8]) -> None:
        """See `BlockStore`."""
        place = self.by_block[number][block]
        place.copy_(torch.from_numpy(content).view(place.dtype).view(place.shape))

    def rows(self, span: PagedSpan) -> slice | Tensor:
        """Where the positions of a text are, first to last: a slice where its blocks lie side by side."""
        size, table = self.block_tokens, span.table
        needed = -(-span.end // size)
        if all(table[n] == table[0] + n for n in range(1, needed)):
            return slice(table[0] * size, table[0] * size + span.end)
        blocks = torch.tensor(table[:needed], device=self.layers[0][0].device)
        places = blocks[:, None] * size + torch.arange(size, device=blocks.device)
        return places.flatten()[: span.end]

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

    def __init__(self, store: KVStore, spans: Sequence[PagedSpan]) -> None:
        self._spans = spans
        self._store = store
        self._rows = [store.rows(span) for span in spans]
        self._masks: dict[tuple[int, int | None], Tensor | None] = {}
        self.layers = [PagedLayer(self, index) for index in range(store.config.num_hidden_layers)]

    def spans(self, count: int) -> Sequence[PagedSpan]:
        """Where the new positions stand."""
        return self._spans

    def advance(self, count: int) -> None:
        """Nothing: each text's owner counts its positions."""

    def extend(
        self, layer: int, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """Keep the new positions of every text, and give back text by text all that it has.

        Args:
            layer: whose.
            new: each (1, K, T, E), or (1, T, W) for latent attention.
            layout: of the layer's kind.

        Yields:
            Which of the new positions are a text's; each kept tensor with all of its positions, in the
            shape of the new ones with S for T; and which of them each new position sees.
        """
        store = self._store
        for number, span in enumerate(self._spans):
            part = slice(span.first, span.first + span.count)
            rows = self._rows[number]
            everything = []
            for kind, tensor in enumerate(new):
                fresh = tensor[0, :, part].transpose(0, 1) if tensor.dim() == 4 else tensor[0, part]
                store.keep(layer, kind, _from(rows, span.start), fresh)
                whole = store.kept(layer, kind, rows, tensor.dtype)
                everything.append((whole.transpose(0, 1) if tensor.dim() == 4 else whole)[None])
            # the layout of a lone text has its mask already
            yield part, everything, layout.mask if len(self._spans) == 1 else self._mask(number, layout)

    def _mask(self, number: int, layout: Layout) -> Tensor | None:
        key = number, layout.window
        if key not in self._masks:
            span, device = self._spans[number], self._store.layers[0][0].device
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


def _from(rows: slice | Tensor, start: int) -> slice | Tensor:
    """Without the first `start`."""
    return rows[start:] if isinstance(rows, Tensor) else slice(rows.start + start, rows.stop)
