"""Queries, keys and values of a model's layers as it reads a text, one layer at a time.

Layers are computed in turn, each over runs of positions, so that what is held is one layer's cache and the
stream between layers: a text of any length takes memory in proportion to its tokens, never to their square.

Shapes: T positions, D hidden_size, H query heads, K key/value heads, E numbers of a query and key,
X numbers of a value.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.errors import UsageError
from llmkit.model.attention import Attention
from llmkit.model.block import Block
from llmkit.model.config import ModelConfig
from llmkit.model.held import Both, Held
from llmkit.model.latent_attention import LatentAttention
from llmkit.model.layer_sizes import check_alone, head_sizes
from llmkit.model.layout import Layout, layout_mask
from llmkit.model.positions import query_scale
from llmkit.model.recurrent.held import HeldState
from llmkit.model.transformer import Decoder, Transformer
from llmkit.model.window import Window

RUN = 512
"""Positions computed at once: their masks have a row for each, as long as the text."""


@dataclass(frozen=True)
class Captured:
    """What one layer attends with, after norms and rotation, in the dtype of the model.

    Weight of key j to query i in head h: softmax over keys of cap(scale * q[h, i] . k[h * K // H, j]), where
    cap(s) = softcap * tanh(s / softcap) where there is one; over the keys of the window; and over sinks[h],
    where there is one, which takes its share and gives nothing.
    """

    layer: int
    q: Tensor
    """(H, T, E)."""
    k: Tensor
    """(K, T, E); K = H where latent attention makes keys for every head."""
    v: Tensor
    """(K, T, X)."""
    scale: float
    softcap: float | None
    window: Window
    """What a query sees."""
    sinks: Tensor | None
    """(H,)."""
    o_proj: nn.Module
    """From what heads bring home, (..., H X), to (..., D)."""
    gate: Tensor | None = None
    """(T, H X) what each query's heads bring home is multiplied by before."""

    @property
    def heads(self) -> int:
        """H."""
        return self.q.shape[0]

    @property
    def tokens(self) -> int:
        """T."""
        return self.q.shape[1]

    def group(self, head: int) -> int:
        """Which of the K key/value heads a query head reads."""
        return head // (self.heads // self.k.shape[0])

    def first_key(self, query: int) -> int:
        """The first key that a query sees."""
        return self.window.first_seen(query)


@torch.no_grad()
def capture(
    model: Transformer, ids: Tensor, layers: Sequence[int] | None = None, *, run: int = RUN
) -> Iterator[Captured]:
    """What layers attend with while a model reads a text, in the order of the layers.

    The text is computed up to the last layer that is asked for. A layer's tensors are the caller's alone: who
    drops them before the next has the memory of one layer.

    Args:
        model: in evaluation mode; with adapters too.
        ids: (T,) int64.
        layers: which, from 0; negative ones count from the end; None for all that have attention.
        run: positions computed at once.

    Raises:
        UsageError: no ids, no such layer, one without attention, or a text longer than the model's positions.
    """
    decoder, T = model.model, len(ids)
    wanted = wanted_layers(layers, decoder.config)
    if not T:
        raise UsageError("a text of no tokens has no attention", hint="give a text of one token or more")
    device = decoder.embed_tokens.weight.device
    x = decoder.embed(ids.to(device)[None], torch.arange(T, device=device), T)  # (1, T, D)
    for index in range(wanted[-1] + 1):
        block = decoder.layers[index]
        assert isinstance(block, Block)
        if index in wanted:
            yield _captured(decoder, block, index, x, run)
        if index < wanted[-1]:
            _advance(decoder, block, index, x, run)


def wanted_layers(layers: Sequence[int] | None, config: ModelConfig) -> list[int]:
    """Numbers of layers from 0 in order, each once; None: all that have attention.

    Raises:
        UsageError: none, one that the model does not have, or one without attention; or all are without.
    """
    check_attention(config)
    count = config.num_hidden_layers
    chosen = config.attention_layers if layers is None else layers
    for one in chosen:
        if not -count <= one < count:
            raise UsageError(f"no layer {one} in a model of {count}", hint=f"layers are 0 to {count - 1}")
        check_attends(one % count, config)
    if not chosen:
        raise UsageError("no layer is asked for", hint=f"layers are 0 to {count - 1}")
    return sorted({one % count for one in chosen})


def check_attention(config: ModelConfig) -> None:
    """Refuse a model without attention in any layer.

    Raises:
        UsageError: it is one.
        ConfigError: its layers read more than what the one before leaves.
    """
    check_alone(config)
    if not config.attention_layers:
        raise UsageError(
            "no layer of this model has attention: there are no heads to look at",
            hint="llmkit eval tokens MODEL TEXT tells what any model makes of each token",
        )


def check_attends(layer: int, config: ModelConfig) -> None:
    """Refuse a layer, counted from 0, without attention: one that keeps a state, or an MLP alone.

    Raises:
        UsageError: it does.
    """
    if layer in config.layers_without_keys:
        others = ", ".join(map(str, config.attention_layers))
        what = "keeps a state" if layer in config.state_layers else "is an MLP alone"
        raise UsageError(
            f"layer {layer} {what}, and has no heads of attention", hint=f"layers that have: {others}"
        )


def _captured(decoder: Decoder, block: Block, index: int, x: Tensor, run: int) -> Captured:
    attention, T = block.self_attn, x.shape[1]
    parts = []
    for start in range(0, T, run):
        rows = x[:, start : start + run]
        read = rows if block.placement == "after" else block.input_layernorm(rows)
        layout = _layout(decoder, index, start, rows.shape[1], T, masked=False)
        parts.append([part[0] for part in attention.qkv(read, layout) if part is not None])
    # run by run and not all at once: what is joined is let go before the next
    q, k, v = (torch.cat([part.pop(0) for part in parts], dim=1) for _ in range(3))
    gate = torch.cat([part.pop(0) for part in parts]) if parts[0] else None
    plain = attention if isinstance(attention, Attention) else None
    return Captured(
        layer=index,
        q=q,
        k=k,
        v=v,
        scale=attention.scale,
        softcap=None if plain is None else plain.softcap,
        window=_window(decoder, index),
        sinks=None if plain is None else plain.sinks,
        o_proj=attention.o_proj,
        gate=gate,
    )


def _advance(decoder: Decoder, block: Block, index: int, x: Tensor, run: int) -> None:
    """Take the stream, (1, T, D), through a layer, in place."""
    T = x.shape[1]
    held = None if run >= T else _cache(decoder, block, index, x)
    for start in range(0, T, run):
        rows = x[:, start : start + run]
        layout = _layout(decoder, index, start, rows.shape[1], T, masked=True)
        x[:, start : start + run] = block(rows, layout, held)
        keys = held.keys if isinstance(held, Both) else held
        if isinstance(keys, Held):
            keys.length += rows.shape[1]


def _cache(decoder: Decoder, block: Block, index: int, x: Tensor) -> Held | HeldState | Both:
    """Room for one layer's keys and values of every position, for its state, or for both."""
    config, T = decoder.config, x.shape[1]
    heads = head_sizes(config, index)
    if block.mixer_name != "self_attn":
        return HeldState(config, 1, x.dtype, x.device)
    if isinstance(block.self_attn, LatentAttention):
        latent = block.self_attn.latent
        return Held(x.new_empty(1, T, latent.kv_lora_rank + latent.qk_rope_head_dim))
    held = Held(*(x.new_empty(1, heads.num_key_value_heads, T, heads.head_dim) for _ in range(2)))
    return Both(held, HeldState(config, 1, x.dtype, x.device)) if block.has_both else held


def _layout(decoder: Decoder, index: int, start: int, count: int, whole: int, *, masked: bool) -> Layout:
    """For a run of positions out of a text whose length is known."""
    window = _window(decoder, index)
    device = decoder.embed_tokens.weight.device
    mask = layout_mask(start, count, device, window=window) if masked else None
    rotates = decoder.rope is not None and index not in decoder.config.no_rope_layers
    positions = torch.arange(start, start + count, device=device)
    scale = query_scale(decoder.config, positions, rotates=rotates)
    if decoder.rope is None or not rotates:
        return Layout(mask=mask, window=window, query_scale=scale)
    sliding = index in decoder.config.sliding_layers
    cos, sin = decoder.rope.table(whole, device, sliding=sliding)
    cos, sin = cos[start : start + count], sin[start : start + count]
    return Layout(cos, sin, mask, window, query_scale=scale)


def _window(decoder: Decoder, index: int) -> Window:
    return decoder.config.window(index in decoder.config.sliding_layers)
