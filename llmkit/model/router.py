"""Which experts a token goes to, and what each of them counts for.

Shapes: M tokens of the whole batch, D hidden_size, N experts, k experts a token, G groups of experts.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.dtypes import wide_dtype


class Routes(NamedTuple):
    """What a router decided."""

    chosen: Tensor
    """(M, k) int64: the experts of each token."""
    weights: Tensor
    """(M, k) float32 or wider: what their outputs are multiplied with."""
    logits: Tensor
    """(M, N) float32 or wider."""


class Router(nn.Module):
    """A linear map to one score an expert, of which the best k are used (1701.06538).

    Everything here is float32 whatever the model's dtype (2101.03961, section 2.4): what would be a rounding
    error anywhere else is another expert here. gpt-oss takes the softmax of the k best logits: that is the
    softmax over all of them, made to add up to 1 over the best. Gemma 4's reads the stream through a norm of
    its own, and weighs each expert by a number that is learnt.

    Args:
        config: of a model with experts.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.experts = config.experts
        N, D = self.experts.num_experts, config.hidden_size
        self.weight = nn.Parameter(fresh(N, D, fan_in=D))
        self.bias = nn.Parameter(torch.zeros(N)) if self.experts.router_bias else None
        beside = self.experts.beside_mlp
        self.scale = nn.Parameter(torch.ones(D)) if beside else None
        self.per_expert_scale = nn.Parameter(torch.ones(N)) if beside else None
        self.eps = config.norm_eps if beside else 0.0
        self.e_score_correction_bias: Tensor | None
        offset = torch.zeros(N, dtype=torch.float32) if self.experts.selection_bias else None
        self.register_buffer("e_score_correction_bias", offset)

    def forward(self, x: Tensor) -> Routes:
        """x: (M, D)."""
        experts, k = self.experts, self.experts.num_experts_per_tok
        wide = wide_dtype(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.to(wide)
            read = x.to(wide)
            if self.scale is not None:
                D = x.shape[-1]
                read = F.rms_norm(read, (D,), self.scale.to(wide) * D**-0.5, self.eps)
            logits = F.linear(read, self.weight.to(wide), bias)  # (M, N)
        scores = logits.softmax(-1) if experts.scoring == "softmax" else logits.sigmoid()
        # Llama 4 chooses by logits, of which large ones are 1 alike behind the sigmoid
        chosen = self._worth(logits if experts.weighs_inputs else scores).topk(k, dim=-1).indices
        weights = scores.gather(1, chosen)  # without the bias: it helps to be chosen and counts for nothing
        if experts.norm_topk_prob:
            never_zero = 1e-20 if experts.scoring == "sigmoid" else 0.0  # sigmoids may all be 0
            weights = weights / (weights.sum(-1, keepdim=True) + never_zero)
        if experts.routed_scaling_factor != 1.0:
            weights = weights * experts.routed_scaling_factor
        if self.per_expert_scale is not None:
            weights = weights * self.per_expert_scale.to(wide)[chosen]
        return Routes(chosen, weights, logits)

    @torch.no_grad()
    def _worth(self, scores: Tensor) -> Tensor:
        """What experts are chosen by: (M, N) biased scores, minus infinity outside a token's groups."""
        worth = scores if self.e_score_correction_bias is None else scores + self.e_score_correction_bias
        return worth if self.experts.num_groups == 1 else _within_groups(worth, self.experts)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Router":
        """Moves and casts, but the selection bias stays float32: bfloat16 does not see it change by 0.001."""
        offset = self.e_score_correction_bias
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved = self.e_score_correction_bias
        if offset is not None and moved is not None and moved.dtype != offset.dtype:
            self.e_score_correction_bias = offset.to(moved.device)
        return self


def tokens_of_each(chosen: Tensor, num_experts: int) -> Tensor:
    """How many tokens chose each expert: (N,) int64. Its shape is known before, unlike bincount's.

    Args:
        chosen: (M, k), or some of these in any order.
        num_experts: N.
    """
    chosen = chosen.flatten()
    return chosen.new_zeros(num_experts).scatter_add_(0, chosen, torch.ones_like(chosen))


def fresh(*shape: int, fan_in: int) -> Tensor:
    """A weight as nn.Linear draws it; nothing is drawn on the meta device."""
    weight = torch.empty(*shape)
    return weight if weight.is_meta else nn.init.uniform_(weight, -(fan_in**-0.5), fan_in**-0.5)


def _within_groups(worth: Tensor, experts: ExpertsConfig) -> Tensor:
    """Leave each token its best groups of experts (2405.04434, section 2.1.2; 2412.19437, section 2.1.2)."""
    grouped = worth.unflatten(-1, (experts.num_groups, -1))  # (M, G, N / G)
    counted = 1 if experts.group_score == "best" else min(2, grouped.shape[-1])
    groups = grouped.topk(counted, dim=-1).values.sum(-1)  # (M, G)
    kept = groups.topk(experts.topk_groups, dim=-1).indices
    closed = torch.ones_like(groups, dtype=torch.bool).scatter(1, kept, False)
    return grouped.masked_fill(closed.unsqueeze(-1), -torch.inf).flatten(1)
