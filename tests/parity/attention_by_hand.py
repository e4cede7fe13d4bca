"""Layers with numbers at random, attention pair by pair, and a model whose heads do what they are built for.

Shapes: T positions, V vocab_size, D hidden_size, E head_dim.
"""

from typing import Any

import torch
from torch import Tensor, nn

from llmkit.model.attention import Attention
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.model.window import Window
from llmkit.probe.attention.capture import Captured

FORMS: list[dict[str, Any]] = [
    {},
    {"groups": 4},
    {"groups": 1, "window": 7},
    {"softcap": 1.5},
    {"sinks": True},
    {"window": 1},
    {"window": 16, "sinks": True, "softcap": 2.0},
    {"window": 8, "chunked": True},
]
"""What layers of different families have."""
BOS, REPEATED = 32, 32
"""Of the planted model: its id, and how many tokens can be repeated."""
_TOKENS, _POSITIONS, _HEADS, _WIDTH = 33, 65, 3, 100


def random_layer(
    tokens: int = 23,
    *,
    groups: int = 2,
    window: int | None = None,
    softcap: float | None = None,
    sinks: bool = False,
    chunked: bool = False,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Captured:
    """A layer of 4 heads, 6 numbers a query and 5 a value, on a stream of 11."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    o_proj = nn.Linear(20, 11, dtype=dtype)
    with torch.no_grad():
        o_proj.weight.copy_(draw(11, 20))
        o_proj.bias.copy_(draw(11))
    return Captured(
        layer=3,
        q=draw(4, tokens, 6),
        k=draw(groups, tokens, 6),
        v=draw(groups, tokens, 5),
        scale=0.4,
        softcap=softcap,
        window=Window(window, chunked),
        sinks=draw(4) if sinks else None,
        o_proj=o_proj,
    )


def dense(captured: Captured, head: int) -> tuple[Tensor, Tensor, Tensor]:
    """One head's scores (T, T), weights (T, T) and null shares (T,), pair by pair, in float64."""
    T = captured.tokens
    scores = torch.full((T, T), float("-inf"), dtype=torch.float64)
    weights, null = torch.zeros(T, T, dtype=torch.float64), torch.zeros(T, dtype=torch.float64)
    group = head * captured.k.shape[0] // captured.heads
    for i in range(T):
        for j in range(i + 1):
            width = captured.window.size or T
            if i // width == j // width if captured.window.chunked else i - j < width:
                product = (captured.q[head, i].double() * captured.k[group, j].double()).sum()
                score, cap = product * captured.scale, captured.softcap
                scores[i, j] = score if cap is None else cap * torch.tanh(score / cap)
        total = scores[i].exp().sum()
        if captured.sinks is not None:
            sink = captured.sinks[head].double().exp()
            total, null[i] = total + sink, sink / (total + sink)
        weights[i] = scores[i].exp() / total
    return scores, weights, null


@torch.no_grad()
def planted_model() -> Transformer:
    """Two layers of three heads, each of which does one thing and nothing else.

    0.0 looks at the previous token and writes it beside the token, 0.1 looks at the first position, 0.2
    everywhere alike; 1.0 looks at what came after the last time, 1.1 at the last time, both at themselves
    where there was none; 1.2 at itself.

    A stream is [token one-hot, position one-hot, the token before], so that a head's matrices are made of
    identities. What LayerNorm takes off is the same for all keys, or nearly: gains are large enough.
    """
    D = _HEADS * _WIDTH
    config = ModelConfig.from_hf(
        {
            **{"model_type": "gpt2", "vocab_size": _TOKENS, "n_embd": D, "n_layer": 2, "n_head": _HEADS},
            **{"n_positions": _POSITIONS, "n_inner": 1, "activation_function": "gelu_new"},
        }
    )
    model = Transformer(config).eval()
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    token, position = torch.eye(D)[:_TOKENS], torch.eye(D)[_TOKENS : _TOKENS + _POSITIONS]
    before = torch.eye(D)[_TOKENS + _POSITIONS :][:_TOKENS]
    model.model.embed_tokens.weight.copy_(token)
    assert isinstance(model.model.embed_positions, nn.Embedding)
    model.model.embed_positions.weight.copy_(position)
    first, second = (block.self_attn for block in model.model.layers)
    assert isinstance(first, Attention) and isinstance(second, Attention)

    shifted = torch.cat((torch.zeros(1, D), position[:-1]))  # row p reads position p - 1
    _put(first, 0, position, shifted)
    first.v_proj.weight[:_TOKENS] = token
    first.o_proj.weight[:, :_TOKENS] = before.T / 12  # about what LayerNorm has multiplied with
    first.q_proj.bias[_WIDTH] = 30.0  # head 1 asks everyone the same, and the first position answers
    first.k_proj.weight[_WIDTH] = 3 * position[0]
    itself = torch.cat((token, position / 2))
    _put(second, 0, itself, torch.cat((before, position)))
    _put(second, 1, itself, torch.cat((token, -position)))
    _put(second, 2, position, position)
    return model


def _put(attention: Attention, head: int, queries: Tensor, keys: Tensor) -> None:
    """Score queries against keys, (n, D) each, with a gain."""
    rows = slice(head * _WIDTH, head * _WIDTH + len(queries))
    attention.q_proj.weight[rows] = 4 * queries
    attention.k_proj.weight[rows] = 4 * keys
