"""Attention of all texts of a pass over keys and values in pages: what is asked, and a way for every device.

Shapes: N texts, T new positions of all, S positions that a text may have, P rows of the store, W blocks of a
table, H query heads, K key/value heads, E head_dim, R rotary_dim.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.engine.cuda.batch import PagedBatch
from llmkit.engine.store import PagedSpan
from llmkit.model.attend import attend
from llmkit.model.layout import layout_mask
from llmkit.model.rope import rotate
from llmkit.model.window import Window


@dataclass(frozen=True)
class AttentionRules:
    """What a layer's attention does beside softmax."""

    scale: float
    window: int | None = None
    """How many positions a query sees, its own included; None for all before it."""
    softcap: float | None = None
    sinks: Tensor | None = None
    """(H,), see `attend`."""


@dataclass(frozen=True)
class Rotation:
    """How the heads of a layer turn with their positions."""

    cos: Tensor
    """(T, R / 2) float32."""
    sin: Tensor
    interleaved: bool = False
    """See `model.rope.rotate`."""


class BatchAttention(Protocol):
    """Attention over one batch; every layer calls both, in this order."""

    def keep(
        self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None, keys: Tensor, values: Tensor
    ) -> Tensor:
        """Write new keys and values to their places.

        Args:
            q: (T, H, E), queries of the new positions.
            k: (T, K, E).
            v: (T, K, E).
            rotation: of queries and keys; None where nothing is rotated.
            keys: (P, K, E), a layer's.
            values: the same.

        Returns:
            (T, H, E), the queries, rotated.
        """

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, rules: AttentionRules) -> Tensor:
        """
        Args:
            q: (T, H, E), what `keep` gave.
            keys: (P, K, E), a layer's, with those of the new positions in them.
            values: the same.
            rules: of the layer.

        Returns:
            (T, H, E).
        """


class PagedAttention(Protocol):
    """A way to compute attention over pages."""

    def over(self, batch: PagedBatch) -> BatchAttention:
        """What the layers of a pass have in common is made here, once."""


class GatheredAttention:
    """Pages are copied side by side and given to torch's own attention: everywhere, and for every rule.

    Texts with one new position go together, padded to the longest; the others one by one.
    """

    def over(self, batch: PagedBatch) -> BatchAttention:
        """See `PagedAttention`."""
        return _Gathered(batch)


class _Gathered:
    def __init__(self, batch: PagedBatch) -> None:
        self._batch = batch
        self._several = [(span, self._rows_of(index, span)) for index, span in enumerate(batch.several)]
        self._masks: dict[tuple[int, int | None], Tensor | None] = {}
        table, size = batch.table[: self._num_single], batch.block_tokens
        at = torch.arange(batch.capacity, device=table.device)
        rows = (table[:, :, None] * size + at[:size].int()).flatten(1).long()  # (n, S)
        self._lengths = batch.lengths[: self._num_single, None]
        self._at = at
        self._seen = at < self._lengths
        # What a text does not have may be anything, even no number: its first position stands in for it
        self._rows = torch.where(self._seen, rows, rows[:, :1])

    @property
    def _num_single(self) -> int:
        return len(self._batch.lengths) - len(self._batch.several)

    def keep(
        self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None, keys: Tensor, values: Tensor
    ) -> Tensor:
        if rotation is not None:
            cos, sin = rotation.cos.to(q.dtype), rotation.sin.to(q.dtype)
            q, k = (
                rotate(one.transpose(0, 1), cos, sin, interleaved=rotation.interleaved).transpose(0, 1)
                for one in (q, k)
            )
        keys.index_copy_(0, self._batch.places, k.to(keys.dtype))
        values.index_copy_(0, self._batch.places, v.to(values.dtype))
        return q

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, rules: AttentionRules) -> Tensor:
        parts = [self._single(q[: self._num_single], keys, values, rules)] if self._num_single else []
        for number, (span, rows) in enumerate(self._several):
            own = q[span.first : span.first + span.count].transpose(0, 1)[None]
            k, v = (kept[rows].transpose(0, 1)[None].to(q.dtype) for kept in (keys, values))
            y = attend(
                own,
                k,
                v,
                self._mask(number, span, rules.window),
                scale=rules.scale,
                softcap=rules.softcap,
                sinks=rules.sinks,
            )
            parts.append(y[0].transpose(0, 1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _single(self, q: Tensor, keys: Tensor, values: Tensor, rules: AttentionRules) -> Tensor:
        """q: (n, H, E), the one new position of each of n texts. Returns the same shape."""
        k, v = (kept[self._rows].transpose(1, 2).to(q.dtype) for kept in (keys, values))  # (n, K, S, E)
        seen = self._seen
        if rules.window is not None:
            seen = seen & (self._at >= self._lengths - rules.window)
        mask = seen[:, None, None]
        if rules.softcap is None and rules.sinks is None:
            grouped = q.unflatten(1, (keys.shape[1], -1))  # (n, K, H / K, E): a group's heads as rows
            return F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask, scale=rules.scale).flatten(
                1, 2
            )
        y = attend(q[:, :, None], k, v, mask, scale=rules.scale, softcap=rules.softcap, sinks=rules.sinks)
        return y[:, :, 0]

    def _rows_of(self, index: int, span: PagedSpan) -> Tensor:
        """(S,) rows of the store of one of the texts with several new positions."""
        batch = self._batch
        own = batch.table[self._num_single + index, : -(-span.end // batch.block_tokens)].long()
        within = torch.arange(batch.block_tokens, device=own.device)
        return (own[:, None] * batch.block_tokens + within).flatten()[: span.end]

    def _mask(self, number: int, span: PagedSpan, window: int | None) -> Tensor | None:
        key = number, window
        if key not in self._masks:
            self._masks[key] = layout_mask(span.start, span.count, self._rows.device, window=Window(window))
        return self._masks[key]
