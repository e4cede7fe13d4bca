"""The memory of keys and values: for each layer one tensor of positions, cut into blocks.

Shapes: P positions of the pool, S positions of a text, T new ones, K key/value heads, E head_dim,
W kv_lora_rank + qk_rope_head_dim.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.layout import Layout, Span, layout_mask


@dataclass(frozen=True, slots=True)
class PagedSpan(Span):
    """New positions of one text, and where its blocks are."""

    first: int = 0
    """Where they begin among the new positions of all texts."""
    table: tuple[int, ...] = ()
    """Its blocks."""


class KVStore:
    """Room for keys and values of so many blocks, in every layer.

    Memory that was never written is not taken: the tensors are as large as they may become.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_blocks: int,
        block_tokens: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.block_tokens = block_tokens
        rows = num_blocks * block_tokens
        shapes = _row_shapes(config)
        self.layers = [
            tuple(torch.empty((rows, *shape), dtype=dtype, device=device) for shape in shapes)
            for _ in range(config.num_hidden_layers)
        ]

    @property
    def nbytes(self) -> int:
        """Bytes that all blocks may take."""
        return sum(tensor.nbytes for layer in self.layers for tensor in layer)

    def rows(self, span: PagedSpan) -> slice | Tensor:
        """Where the positions of a text are, first to last: a slice where its blocks lie side by side."""
        size, table = self.block_tokens, span.table
        needed = -(-span.end // size)
        if all(table[n] == table[0] + n for n in range(1, needed)):
            return slice(table[0] * size, table[0] * size + span.end)
        blocks = torch.tensor(table[:needed], device=self.layers[0][0].device)
        places = blocks[:, None] * size + torch.arange(size, device=blocks.device)
        return places.flatten()[: span.end]


def _row_shapes(config: ModelConfig) -> tuple[tuple[int, ...], ...]:
    """Of one position in one layer: keys and values, or the row that both are made of."""
    if config.latent is not None:
        return ((config.latent.kv_lora_rank + config.latent.qk_rope_head_dim,),)
    shape = (config.num_key_value_heads, config.head_dim)
    return (shape, shape)


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
        held = self._store.layers[layer]
        for number, span in enumerate(self._spans):
            part = slice(span.first, span.first + span.count)
            rows = self._rows[number]
            everything = []
            for kept, tensor in zip(held, new, strict=True):
                fresh = tensor[0, :, part].transpose(0, 1) if tensor.dim() == 4 else tensor[0, part]
                kept[_from(rows, span.start)] = fresh.to(kept.dtype)
                whole = kept[rows]
                everything.append(
                    (whole.transpose(0, 1) if tensor.dim() == 4 else whole)[None].to(tensor.dtype)
                )
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
