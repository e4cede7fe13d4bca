"""Mamba-2's layer in the place of attention (2405.21060): a state space behind a convolution.

Shapes: B batch, T positions, D hidden_size, W heads of Y numbers, G groups of keys and queries of X numbers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.config import ModelConfig
from llmkit.model.config_states import Mamba2Config
from llmkit.model.dtypes import wide
from llmkit.model.here import here
from llmkit.model.mlp import ACTIVATION_FUNCTIONS
from llmkit.model.recurrent.conv import CausalConv
from llmkit.model.recurrent.layer import Recurrent
from llmkit.model.recurrent.state_space import state_space


class GroupedNorm(nn.Module):
    """RMSNorm of x times silu of its gate, over each group's numbers by themselves."""

    def __init__(self, width: int, groups: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.groups, self.eps = groups, eps

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """x and gate: (..., width). Returns the same, in the gate's dtype."""
        gated = (wide(x) * F.silu(wide(gate))).unflatten(-1, (self.groups, -1))
        normed = F.rms_norm(gated, gated.shape[-1:], eps=self.eps).flatten(-2).to(gate.dtype)
        return (normed * self.weight).to(gate.dtype)


class Mamba2(Recurrent):
    """Gate, values, keys, queries and steps out of one product; all but gates and steps are convolved."""

    def __init__(self, config: ModelConfig, mamba: Mamba2Config) -> None:
        super().__init__()
        self.mamba = mamba
        D, W = config.hidden_size, mamba.num_heads
        self.act = ACTIVATION_FUNCTIONS[mamba.hidden_act]
        self.scales = None if config.multipliers is None else config.multipliers.state_inputs
        self.in_proj = nn.Linear(D, mamba.width + mamba.convolved + W, bias=mamba.bias)
        self.conv1d = CausalConv(mamba.convolved, mamba.kernel, bias=mamba.conv_bias)
        self.dt_bias = nn.Parameter(torch.ones(W))
        self.A_log = nn.Parameter(torch.empty(W).uniform_(1, 16).log_())
        self.D = nn.Parameter(torch.ones(W))
        self.norm = GroupedNorm(mamba.width, mamba.num_groups, config.norm_eps) if mamba.norm else None
        self.out_proj = nn.Linear(mamba.width, D, bias=mamba.bias)

    def inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the norm's gate is, (B, T, WY); what is convolved, (B, T, WY + 2GX); and steps, (B, T, W)."""
        mamba, product = self.mamba, self.in_proj(x)
        if self.scales is not None:
            keys = mamba.num_groups * mamba.state_size
            parts = product.split((mamba.width, mamba.width, keys, keys, mamba.num_heads), dim=-1)
            product = torch.cat([part * scale for part, scale in zip(parts, self.scales, strict=True)], -1)
        return product.split((mamba.width, mamba.convolved, mamba.num_heads), dim=-1)

    def read(
        self, inputs: Sequence[Tensor], before: Sequence[Tensor] | None, segments: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `Recurrent.read`."""
        gate, xkq, dt = inputs
        conv, state = (None, None) if before is None else before
        xkq, last = self.conv1d(xkq, conv, segments)
        with torch.autocast(xkq.device.type, enabled=False):
            read, state = self._space(self.act(xkq), dt, state, segments)
        if self.norm is None:
            return (read * F.silu(wide(gate))).to(gate.dtype), (last, state)
        return self.norm(read, gate), (last, state)

    def _space(
        self, xkq: Tensor, dt: Tensor, state: Tensor | None, segments: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(B, T, WY) float32, and the matrices after the last position."""
        mamba = self.mamba
        keys = mamba.num_groups * mamba.state_size
        x, k, q = wide(xkq).split((mamba.width, keys, keys), dim=-1)
        x = x.unflatten(2, (mamba.num_heads, -1)).transpose(1, 2)  # (B, W, T, Y)
        k, q = (one.unflatten(2, (mamba.num_groups, -1)).transpose(1, 2) for one in (k, q))
        step = F.softplus(wide(dt) + wide(here(self.dt_bias))).clamp(*mamba.step_limits).transpose(1, 2)
        decay = -wide(here(self.A_log)).exp()[:, None] * step
        y, state = state_space(q, k, x * step[..., None], decay, state, segments)
        y = y + x * wide(here(self.D))[:, None, None]
        return y.transpose(1, 2).flatten(2), state
