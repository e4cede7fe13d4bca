"""A whole model in numpy, written out: what native/forward.cpp is held against.

Shapes: T positions of one text, D hidden, H heads, K kv_heads, E head_dim, R rotary_dim, F intermediate,
X experts, V vocabulary.
"""

from dataclasses import dataclass, field
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.forward import Angles, Embedding, NativeModel, Sizes
from llmkit.kernels.forward_structs import Activation
from llmkit.kernels.forward_weights import (
    ExpertWeights,
    LayerWeights,
    NormKind,
    NormWeights,
    Residual,
    Scoring,
)
from llmkit.kernels.memory import rows_of
from llmkit.kernels.packed import PackedFormat, pack

D, H, K, E, F, V, X, BLOCK = 24, 4, 2, 6, 20, 17, 6, 4
Array = NDArray[np.float32]
MATRICES = ("q", "k", "v", "o", "gate_up", "down")
NORMS = ("before_attention", "after_attention", "before_mlp", "after_mlp")


@dataclass
class Shape:
    """What a model differs in from llama's."""

    norms: tuple[str, ...] = ("before_attention", "before_mlp")
    sizes: dict[str, Any] = field(default_factory=dict)
    windows: tuple[int, ...] = (0, 0)
    angles: tuple[int, ...] = (0, 0)
    sinks: bool = False
    experts: dict[str, Any] | None = None
    shared: int = 0
    """Of the shared expert's intermediate size."""
    added: bool = False
    """Whether positions add to embeddings."""
    grows: bool = False
    """Whether queries are multiplied with `query_scales`."""


@dataclass
class ByHand:
    """One model, packed and plain."""

    shape: Shape
    sizes: Sizes
    native: NativeModel
    layers: list[dict[str, Any]]
    last: tuple[Array, Array]
    head: Array
    head_bias: Array
    angles: Angles
    tables: list[tuple[Array, Array]]
    embedding: Array
    added: Array

    def scores(self, ids: NDArray[np.int64]) -> Array:
        """Of what follows each position of one text. ids: (T)."""
        x = self.embedding[ids] * np.float32(self.sizes.embedding_scale)
        x = x + self.added[: len(ids)] if self.shape.added else x
        for number, w in enumerate(self.layers):
            x = self._layer(x, w, number)
        scores = self._norm(x, *self.last) @ self.head.T + self.head_bias
        scores = scores * self.sizes.logit_scale
        cap = self.sizes.logit_cap
        return cap * np.tanh(scores / cap) if cap else scores

    def _layer(self, x: Array, w: dict[str, Any], number: int) -> Array:
        scale = self.sizes.residual_scale
        read = self._if(x, w, "before_attention")
        branch = self._if(self._attention(read, w, number), w, "after_attention") * scale
        if self.sizes.residual is Residual.PARALLEL_ONE_NORM:
            return x + branch + self._if(self._feed(read, w), w, "after_mlp") * scale
        fed = x if self.sizes.residual is Residual.PARALLEL else x + branch
        fed = self._feed(self._if(fed, w, "before_mlp"), w)
        return x + branch + self._if(fed, w, "after_mlp") * scale

    def _if(self, x: Array, w: dict[str, Any], name: str) -> Array:
        return self._norm(x, *w[name]) if name in self.shape.norms else x

    def _norm(self, x: Array, weight: Array, bias: Array) -> Array:
        if self.sizes.norm_kind is NormKind.LAYER:
            x = x - x.mean(-1, keepdims=True)
            return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight + bias
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight

    def _attention(self, x: Array, w: dict[str, Any], number: int) -> Array:
        T, sizes = len(x), self.sizes
        q, k, v = (x @ w[name].T + w[f"{name}_bias"] for name in ("q", "k", "v"))
        if sizes.norm_all_heads:
            q, k = self._norm(q, *w["q_norm"]), self._norm(k, *w["k_norm"])
        q, k, v = q.reshape(T, H, E), k.reshape(T, K, E), v.reshape(T, K, E).repeat(H // K, 1)
        per_head = not (sizes.norm_all_heads or sizes.norm_turned)
        if per_head:
            q, k = self._norm(q, *w["q_norm"]), self._norm(k, *w["k_norm"])
        q, k = self._turned(q, number), self._turned(k, number)
        if sizes.norm_turned:
            q, k = self._norm(q, *w["q_norm"]), self._norm(k, *w["k_norm"])
        if self.shape.grows and not (sizes.grows_unrotated and self.shape.angles[number] >= 0):
            q = q * query_scales(np.arange(T))[:, None, None]
        k = k.repeat(H // K, 1)
        scores = np.einsum("the,she->hts", q, k) * sizes.scale
        if sizes.softcap:
            scores = sizes.softcap * np.tanh(scores / sizes.softcap)
        window = self.shape.windows[number] or T
        at = np.arange(T)
        first = at // window * window if sizes.chunked else at + 1 - window
        scores = np.where(np.tril(at >= first[:, None]), scores, -np.inf)
        sinks = w["sinks"] if self.shape.sinks else np.full(H, -np.inf, np.float32)
        scores = np.concatenate((scores, np.broadcast_to(sinks[:, None, None], (H, T, 1))), -1)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return np.einsum("hts,she->the", weights[..., :-1], v).reshape(T, H * E) @ w["o"].T + w["o_bias"]

    def _turned(self, heads: Array, number: int) -> Array:
        table = self.shape.angles[number]
        if table < 0:
            return heads
        R = self.sizes.rotary_dim
        c, s = (half[: len(heads), None] for half in self.tables[table])
        a, b, rest = heads[..., : R // 2], heads[..., R // 2 : R], heads[..., R:]
        return np.concatenate((a * c - b * s, b * c + a * s, rest), -1)

    def _feed(self, x: Array, w: dict[str, Any]) -> Array:
        if self.sizes.activation is Activation.XIELU:
            return xielu(x @ w["gate_up"].T + w["gate_up_bias"], w["curve"]) @ w["down"].T + w["down_bias"]
        if self.shape.experts is None:
            return mlp(x, w["gate_up"], w["gate_up_bias"], w["down"], w["down_bias"], self.sizes)
        return np.stack([self._through_experts(row, w) for row in x])

    def _through_experts(self, x: Array, w: dict[str, Any]) -> Array:
        """x: (D,)."""
        options = self.shape.experts
        assert options is not None
        logits = w["router"] @ x + w["router_bias"]
        scores = logits[:X]
        if options["scoring"] is Scoring.SOFTMAX:
            scores = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        else:
            scores = 1 / (1 + np.exp(-scores))
        worth = scores + (w["selection_bias"] if options.get("selects") else 0)
        groups = worth.reshape(options.get("num_groups", 1), -1)
        counted = options.get("group_scores", 1)
        best = np.argsort(-np.sort(groups, 1)[:, ::-1][:, :counted].sum(1))[: options.get("top_groups", 1)]
        open_ = np.isin(np.arange(X) // groups.shape[1], best)
        chosen = np.argsort(np.where(open_, -worth, np.inf))[: options["per_token"]]
        weights = scores[chosen] / (scores[chosen].sum() if options["normalised"] else 1) * options["scaling"]
        reads = weights if options.get("weighs_inputs") else np.ones_like(weights)
        counts = np.ones_like(weights) if options.get("weighs_inputs") else weights
        y = sum(
            count
            * mlp(
                read * x, w["gate_ups"][e], w["gate_up_biases"][e], w["downs"][e], w["down_biases"][e],
                self.sizes, activation=options["activation"], limit=options.get("limit", 0.0),
            )
            for e, read, count in zip(chosen, reads, counts, strict=True)
        )  # fmt: skip
        if self.shape.shared:
            gate = 1 / (1 + np.exp(-logits[X])) if options["shared_gate"] else 1.0
            zeros = np.zeros(1, np.float32)
            y = y + gate * mlp(x, w["shared_gate_up"], zeros, w["shared_down"], zeros, self.sizes)
        return np.asarray(y, np.float32)


def query_scales(positions: NDArray[np.int64]) -> Array:
    """What queries of `Shape.grows` are multiplied with."""
    return (1 + 0.25 * positions).astype(np.float32)


def mlp(
    x: Array, inner: Array, inner_bias: Array, down: Array, down_bias: Array, sizes: Sizes,
    activation: Activation | None = None, limit: float = 0.0,
) -> Array:  # fmt: skip
    """x: (..., D)."""
    both = x @ inner.T + inner_bias
    kind = sizes.activation if activation is None else activation
    if not sizes.gated:
        return act(both, kind) @ down.T + down_bias
    gate, up = np.split(both, 2, -1)
    if kind is Activation.CLAMPED_SWIGLU:
        gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
        return (gate / (1 + np.exp(-1.702 * gate)) * (up + 1)) @ down.T + down_bias
    return (act(gate, kind) * up) @ down.T + down_bias


def xielu(x: Array, curve: Array) -> Array:
    """Of its four numbers."""
    square, exponential, slope, end = curve.astype(np.float64)
    below = np.expm1(np.minimum(x, end)) - x
    return np.asarray(np.where(x > 0, square * x * x, exponential * below) + slope * x, np.float32)


def act(x: Array, kind: Activation) -> Array:
    """An activation, value by value."""
    functions = {
        Activation.SILU: lambda x: x / (1 + np.exp(-x)),
        Activation.GELU_TANH: lambda x: 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
        Activation.GELU: lambda x: 0.5 * x * (1 + np.vectorize(erf)(x / 2**0.5)),
        Activation.RELU: lambda x: np.maximum(x, 0),
        Activation.RELU_SQUARED: lambda x: np.maximum(x, 0) ** 2,
    }
    return np.asarray(functions[kind](x), np.float32)


def normal(random: np.random.Generator, *shape: int) -> Array:
    """Random numbers of a size that keeps sums near 1."""
    return random.normal(0, 0.5, shape).astype(np.float32)


def make(
    random: np.random.Generator, shape: Shape, packed_format: PackedFormat = PackedFormat.FLOAT32
) -> ByHand:
    """A model of as many layers as `shape.windows`, every number drawn."""
    sizes = Sizes(
        **{
            **{"hidden": D, "heads": H, "kv_heads": K, "head_dim": E, "rotary_dim": E, "intermediate": F},
            **{"vocabulary": V, "activation": Activation.SILU, "epsilon": 1e-5, "scale": E**-0.5},
            **shape.sizes,
        }
    )
    plain = [_plain(random, shape, sizes) for _ in shape.windows]
    packed = [_packed(w, shape, sizes, number, packed_format) for number, w in enumerate(plain)]
    last, head, head_bias = (
        (1 + normal(random, D), normal(random, D)),
        normal(random, V, D),
        normal(random, V),
    )
    embedding, added = normal(random, V, D), normal(random, 32, D)
    incoming = Embedding(rows_of(embedding), added if shape.added else None)
    packed_head = pack(head, packed_format)
    native = NativeModel(sizes, incoming, packed, _norm(last, sizes), packed_head, head_bias)
    tables = []
    for base in (10.0, 3.0):
        angle = np.outer(np.arange(32), base ** -np.arange(sizes.rotary_dim // 2)).astype(np.float32)
        tables.append((np.cos(angle), np.sin(angle)))
    return ByHand(
        shape, sizes, native, plain, last, head, head_bias, Angles(tables), tables, embedding, added
    )


def _plain(random: np.random.Generator, shape: Shape, sizes: Sizes) -> dict[str, Any]:
    inner = (2 if sizes.gated else 1) * F
    matrices = {
        **{"q": (H * E, D), "k": (K * E, D), "v": (K * E, D), "o": (D, H * E)},
        **{"gate_up": (inner, D), "down": (D, F)},
    }
    widths = {**dict.fromkeys(NORMS, D), "q_norm": E, "k_norm": E}
    if sizes.norm_all_heads:
        widths |= {"q_norm": H * E, "k_norm": K * E}
    w: dict[str, Any] = {name: normal(random, *size) for name, size in matrices.items()}
    w |= {f"{name}_bias": normal(random, size[0]) for name, size in matrices.items()}
    w |= {name: (1 + normal(random, width), normal(random, width)) for name, width in widths.items()}
    w["sinks"] = normal(random, H)
    w["curve"] = np.array([0.7, 0.4, 0.6, -0.05], np.float32)
    if shape.experts is not None:
        rows = X + shape.experts["shared_gate"]
        w |= {"router": normal(random, rows, D), "router_bias": normal(random, rows)}
        w |= {"selection_bias": normal(random, X), "gate_ups": normal(random, X, 2 * F, D)}
        w |= {"downs": normal(random, X, D, F), "gate_up_biases": normal(random, X, 2 * F)}
        w |= {"down_biases": normal(random, X, D), "shared_gate_up": normal(random, 2 * shape.shared, D)}
        w["shared_down"] = normal(random, D, shape.shared)
    return w


def _packed(
    w: dict[str, Any], shape: Shape, sizes: Sizes, number: int, packed_format: PackedFormat
) -> LayerWeights:
    names = MATRICES if shape.experts is None else MATRICES[:4]
    biases = tuple(w[f"{name}_bias"] if name in names else None for name in MATRICES)
    return LayerWeights(
        **{name: _norm(w[name], sizes) for name in (*shape.norms, "q_norm", "k_norm")},
        **{name: pack(w[name], packed_format) for name in names},
        biases=biases,
        sinks=w["sinks"] if shape.sinks else None,
        curve=w["curve"] if sizes.activation is Activation.XIELU else None,
        window=shape.windows[number],
        angles=shape.angles[number],
        experts=None if shape.experts is None else _packed_experts(w, shape, packed_format),
    )


def _packed_experts(w: dict[str, Any], shape: Shape, packed_format: PackedFormat) -> ExpertWeights:
    options = dict(shape.experts or {})
    shared = {}
    if shape.shared:
        shared = {name: pack(w[name], packed_format) for name in ("shared_gate_up", "shared_down")}
    return ExpertWeights(
        router=pack(w["router"], PackedFormat.FLOAT32),
        router_bias=w["router_bias"],
        selection_bias=w["selection_bias"] if options.pop("selects", False) else None,
        gate_up=tuple(pack(one, packed_format) for one in w["gate_ups"]),
        down=tuple(pack(one, packed_format) for one in w["downs"]),
        gate_up_bias=w["gate_up_biases"],
        down_bias=w["down_biases"],
        **shared,
        **options,
    )


def _norm(vectors: tuple[Array, Array], sizes: Sizes) -> NormWeights:
    return NormWeights(vectors[0], vectors[1] if sizes.norm_kind is NormKind.LAYER else None)
