"""A mixture of experts in place of a block's MLP: every token through some of many, and none is left out.

Shapes: B batch, T positions, M = B * T tokens, k experts a token, R = M * k rows to compute, D hidden_size,
N experts, F intermediate_size of one.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.config import ModelConfig
from llmkit.model.grouped_linear import grouped_linear
from llmkit.model.here import here
from llmkit.model.mlp import ACTIVATION_FUNCTIONS, build_mlp
from llmkit.model.norm import norm_of_width
from llmkit.model.router import Router, fresh, tokens_of_each
from llmkit.model.routing import RoutingTape

Inside = Callable[[Tensor], Tensor]
"""(..., 2 F) of gates and ups, or (..., F) of ups alone, to what the last product is of: (..., F)."""
_ALPHA = 1.702  # of gpt-oss's gate: x * sigmoid(1.702 x) is close to GELU


class MixtureOfExperts(nn.Module):
    """The k experts of each token, weighed (1701.06538), and one that all tokens use, where there is one.

    Args:
        config: of a model with experts.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        experts = config.experts
        assert experts is not None
        self.gate = Router(config)
        self.experts = Experts(config)
        shared = experts.shared_intermediate_size
        self.shared_expert = build_mlp(config, shared) if shared else None
        self.shared_expert_gate = (
            nn.Linear(config.hidden_size, 1, bias=False) if experts.shared_gate else None
        )

    def forward(self, x: Tensor, routing: RoutingTape | None = None) -> Tensor:
        """x: (B, T, D); routing: is told which experts were chosen. Returns (B, T, D)."""
        tokens = x.flatten(0, 1)  # (M, D)
        routes = self.gate(tokens)
        if routing is not None:
            routing.record(self.gate, routes)
        y = self.experts(tokens, routes.chosen, routes.weights).view_as(x)
        if self.shared_expert is None:
            return y
        shared = self.shared_expert(x)
        if self.shared_expert_gate is not None:
            shared = self.shared_expert_gate(x).sigmoid() * shared
        return y + shared


class ExpertsBesideMLP(MixtureOfExperts):
    """Gemma 4's: the shared expert is the layer's MLP, and each of both has norms of its own.

    Args:
        config: of a model whose experts are beside an MLP.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.norm_read, self.norm_mlp, self.norm_experts = (
            norm_of_width(config, config.hidden_size) for _ in range(3)
        )

    def forward(self, x: Tensor, routing: RoutingTape | None = None, stream: Tensor | None = None) -> Tensor:
        """x: (B, T, D), what the MLP reads; stream: the same before its norm. Returns (B, T, D)."""
        assert stream is not None and self.shared_expert is not None
        tokens = stream.flatten(0, 1)  # (M, D)
        routes = self.gate(tokens)
        if routing is not None:
            routing.record(self.gate, routes)
        y = self.experts(self.norm_read(tokens), routes.chosen, routes.weights).view_as(x)
        return self.norm_mlp(self.shared_expert(x)) + self.norm_experts(y)


def build_mixture(config: ModelConfig) -> MixtureOfExperts:
    """The experts of a layer, as the config says."""
    beside = config.experts is not None and config.experts.beside_mlp
    return ExpertsBesideMLP(config) if beside else MixtureOfExperts(config)


class Exchange(Protocol):
    """Brings rows to the process that has their expert, and what it made of them back."""

    def __call__(self, compute: "Compute", rows: Tensor, counts: Tensor) -> Tensor:
        """
        Args:
            compute: what the experts of this process make of rows in the order of these experts.
            rows: (R, D) in the order of all experts.
            counts: (N,) rows of each.

        Returns:
            (R, D).
        """


Compute = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Rows (R, D), the expert of each (R,), and rows of each expert, to (R, D)."""


class Experts(nn.Module):
    """MLPs side by side, their matrices stacked; those without a gate have an up_proj for a gate_up_proj.

    Rows are put in order of their expert, so that each expert is two matrix products over the rows it got. A
    token's result is the sum of its own rows in the order of its choice, whatever else is in the batch.

    Args:
        config: of a model with experts.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        experts = config.experts
        assert experts is not None
        N, D, F_ = experts.num_experts, config.hidden_size, experts.intermediate_size
        if config.gated_mlp:
            self.gate_up_proj = nn.Parameter(fresh(N, 2 * F_, D, fan_in=D))  # the rows of the gate first
        else:
            self.up_proj = nn.Parameter(fresh(N, F_, D, fan_in=D))
        self.down_proj = nn.Parameter(fresh(N, D, F_, fan_in=F_))
        self.gate_up_proj_bias = nn.Parameter(torch.zeros(N, 2 * F_)) if experts.expert_bias else None
        self.down_proj_bias = nn.Parameter(torch.zeros(N, D)) if experts.expert_bias else None
        self._act = _inside(config)
        self._is_gated, self._weighs_inputs = config.gated_mlp, experts.weighs_inputs
        self.exchange: Exchange | None = None
        """Where this process has some of the experts only."""

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """x: (M, D); chosen: (M, k) int64; weights: (M, k). Returns (M, D)."""
        if len(x) == 1 and not torch.is_grad_enabled() and self.exchange is None:
            return self._one_token(x, chosen, weights)
        k = chosen.shape[1]
        owner, order = chosen.flatten().sort(stable=True)  # (R,) the expert of each row, and where it was
        back = undo(order)
        counts = tokens_of_each(owner, len(self.down_proj))  # (N,)
        rows = take(x, order // k, back, k)  # (R, D)
        if self._weighs_inputs:
            rows = (rows * take(weights.flatten(), order, back, 1)[:, None]).to(x.dtype)
        if self.exchange is None:
            y = self._compute(rows, owner, counts)
        else:
            y = self.exchange(self._compute, rows, counts)
        y = take(y, back, order, 1).unflatten(0, (-1, k))  # (M, k, D)
        if self._weighs_inputs:
            return y.sum(1)
        return (y * weights.unsqueeze(-1)).sum(1).to(x.dtype)

    @property
    def _first(self) -> Tensor:
        """The stack that reads rows: it is looked up, since --fsdp puts others in its place."""
        return self.gate_up_proj if self._is_gated else self.up_proj

    def _compute(self, rows: Tensor, owner: Tensor, counts: Tensor) -> Tensor:
        """Two products with the matrices of their experts: (R, D) to (R, D)."""
        gate_up_bias, down_bias = here(self.gate_up_proj_bias), here(self.down_proj_bias)
        inner = self._act(grouped_linear(rows, here(self._first), gate_up_bias, owner, counts))
        return grouped_linear(inner, here(self.down_proj), down_bias, owner, counts)

    def _one_token(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Decoding: k experts of one row each; nothing to put in order."""
        y = torch.zeros_like(x, dtype=weights.dtype)
        for expert, weight in zip(chosen[0].tolist(), weights[0], strict=True):
            read = (x * weight).to(x.dtype) if self._weighs_inputs else x
            inner = self._act(F.linear(read, self._first[expert], _at(self.gate_up_proj_bias, expert)))
            given = F.linear(inner, self.down_proj[expert], _at(self.down_proj_bias, expert))
            y += given if self._weighs_inputs else given * weight
        return y.to(x.dtype)


class _Take(torch.autograd.Function):
    """x[source], where every row of x is taken k times.

    PyTorch's own gradient adds rows to each other in whatever order threads come by; this one knows where the
    k rows went, and adds them up in their order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Tensor, back: Tensor, k: int) -> Tensor:
        """x: (R / k, D); source: (R,); back: (R,) where the k rows of x[0], x[1], ... went. Gives (R, D)."""
        ctx.save_for_backward(back)
        ctx.k = k
        return x.index_select(0, source)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """gradients: one of (R, D)."""
        (back,) = ctx.saved_tensors
        rows = gradients[0].index_select(0, back)
        return (rows.unflatten(0, (-1, ctx.k)).sum(1) if ctx.k > 1 else rows), None, None, None


def undo(order: Tensor) -> Tensor:
    """The order that puts back what `order` has moved. (R,)"""
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


def take(x: Tensor, source: Tensor, back: Tensor, k: int) -> Tensor:
    """x[source] with a gradient that is added up in one order: (R / k, D) to (R, D).

    Args:
        x: (R / k, D).
        source: (R,).
        back: (R,) where the k rows of x[0], x[1], ... went.
        k: how often each row is taken.
    """
    taken: Tensor = _Take.apply(x, source, back, k)  # type: ignore[no-untyped-call]
    return taken


def _inside(config: ModelConfig) -> Inside:
    """What an expert has between its two products."""
    assert config.experts is not None
    if config.experts.swiglu_limit:
        return _clamped(config.experts.swiglu_limit)
    act = ACTIVATION_FUNCTIONS[config.hidden_act]
    return _gated(act) if config.gated_mlp else act


def _gated(act: Inside) -> Inside:
    def inside(both: Tensor) -> Tensor:
        gate, up = both.chunk(2, -1)
        return act(gate) * up

    return inside


def _clamped(limit: float) -> Inside:
    """gpt-oss's: no gate above the limit, no up beyond it, and up counts from -1."""

    def inside(both: Tensor) -> Tensor:
        gate, up = both.chunk(2, -1)
        gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
        return gate * torch.sigmoid(_ALPHA * gate) * (up + 1)

    return inside


def _at(bias: Tensor | None, expert: int) -> Tensor | None:
    return None if bias is None else bias[expert]
