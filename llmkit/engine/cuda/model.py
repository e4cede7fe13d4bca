"""A model whose layers keep keys and values in pages, and attend to those of all texts in one call.

Its weights and modules are the model's own: only what attention does with keys and values is another.
Shapes: T new positions of all texts, R scored ones, D hidden_size, H query heads, K key/value heads,
E head_dim, P rows of the store, V vocab_size.
"""

from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.engine.cuda.attention import AttentionRules, BatchAttention, PagedAttention, Rotation
from llmkit.engine.cuda.batch import PagedBatch
from llmkit.engine.store import KVStore
from llmkit.model.attention import Attention
from llmkit.model.block import Block
from llmkit.model.held import HeldLayer
from llmkit.model.layout import Layout
from llmkit.model.positions import query_scale
from llmkit.model.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class PagedLayout(Layout):
    """What a layer needs to know of positions, and of the pages that theirs are in."""

    attend: BatchAttention


class PagedSelfAttention(Attention):
    """`Attention` with the same weights, whose keys and values go into a store."""

    def __init__(self, attention: Attention, keys: Tensor, values: Tensor) -> None:
        """
        Args:
            attention: whose weights and settings are used; not copied.
            keys: (P, K, E), the layer's memory.
            values: the same.
        """
        nn.Module.__init__(self)
        self.__dict__.update(attention.__dict__)
        self._memory = keys, values  # in a tuple: no buffers of the model

    def forward(self, x: Tensor, layout: Layout, cache: HeldLayer | None = None) -> Tensor:
        """x: (1, T, D). Returns (1, T, D)."""
        assert isinstance(layout, PagedLayout)
        assert self.k_proj is not None and self.v_proj is not None
        q = self._normed(self.q_proj(x), self.q_norm)  # (1, H, T, E)
        k = self._normed(self.k_proj(x), self.k_norm)  # (1, K, T, E)
        v = self.v_proj(x).view(x.shape[1], -1, self.head_dim)  # (T, K, E)
        rotation = None
        if layout.cos is not None and layout.sin is not None:
            rotation = Rotation(layout.cos, layout.sin, self.interleaved)
        keys, values = self._memory
        q = layout.attend.keep(q[0].transpose(0, 1), k[0].transpose(0, 1), v, rotation, keys, values)
        if layout.query_scale is not None:  # (T, 1)
            q = q * layout.query_scale[:, None].to(q.dtype)
        rules = AttentionRules(self.scale, layout.window.size, self.softcap, self.sinks)
        y = layout.attend(q, keys, values, rules)  # (T, H, E)
        return self.o_proj(y.reshape(1, x.shape[1], -1))


class PagedModel:
    """Computes a batch. Nothing in it asks the CPU, so that a graph can record it."""

    def __init__(self, model: Transformer, store: KVStore, attention: PagedAttention) -> None:
        """
        Args:
            model: one for which `why_not_paged` has no reason.
            store: memory of keys and values.
            attention: how it is computed.
        """
        config, decoder = model.config, model.model
        self._model = model
        self._attention = attention
        self._layers = [
            _paged(block, held[0], held[1]) for block, held in zip(decoder.layers, store.layers, strict=True)
        ]
        self._kinds = [
            (layer in config.sliding_layers, layer not in config.no_rope_layers)
            for layer in range(config.num_hidden_layers)
        ]
        weight = decoder.embed_tokens.weight
        # rounded as `Decoder` does; a number and no tensor, since graphs copy nothing from the CPU
        self._scale = float(torch.tensor(config.embedding_scale, dtype=weight.dtype, device="cpu"))
        self._angles: dict[bool, tuple[Tensor, Tensor]] = {}
        if decoder.rope is not None:  # for every position from the start: a graph keeps the table it saw
            end = min(config.max_position_embeddings, len(store.layers[0][0]))
            for sliding in {sliding for sliding, rotates in self._kinds if rotates}:
                self._angles[sliding] = decoder.rope.table(end, weight.device, sliding=sliding)

    def hidden(self, batch: PagedBatch) -> Tensor:
        """What the head reads, (T, D)."""
        decoder = self._model.model
        x = decoder.embed_tokens(batch.ids)[None]  # (1, T, D)
        if self._scale != 1.0:
            x = x * self._scale
        if decoder.embed_positions is not None:
            x = x + decoder.embed_positions(batch.positions).to(x.dtype)
        attend = self._attention.over(batch)
        layouts = {kind: self._layout(batch, attend, *kind) for kind in dict.fromkeys(self._kinds)}
        for layer, kind in zip(self._layers, self._kinds, strict=True):
            x = layer(x, layouts[kind])
        return decoder.norm(x)[0]

    def scores(self, hidden: Tensor) -> Tensor:
        """hidden: (R, D). Returns (R, V) float32."""
        return self._model.logits(hidden).float()

    def _layout(self, batch: PagedBatch, attend: BatchAttention, sliding: bool, rotates: bool) -> PagedLayout:
        window = self._model.config.window(sliding)
        cos, sin = None, None
        if rotates and self._angles:
            cos, sin = (angles.index_select(0, batch.positions) for angles in self._angles[sliding])
        scale = query_scale(self._model.config, batch.positions, rotates=rotates)
        return PagedLayout(cos=cos, sin=sin, window=window, attend=attend, query_scale=scale)


def _paged(block: nn.Module, keys: Tensor, values: Tensor) -> Block:
    """The same layer with its keys and values in a store; its other modules are shared."""
    assert isinstance(block, Block) and isinstance(block.self_attn, Attention)
    twin = copy(block)
    twin._modules = {**block._modules, "self_attn": PagedSelfAttention(block.self_attn, keys, values)}
    return twin
