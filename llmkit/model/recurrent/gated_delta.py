"""The layer of Qwen3-Next and Qwen3.5 in the place of attention: the gated delta rule behind a convolution.

Shapes: B batch, T positions, D hidden_size, G key heads of X numbers, W value heads of Y.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.config import ModelConfig
from llmkit.model.config_states import DeltaConfig
from llmkit.model.dtypes import wide
from llmkit.model.here import here
from llmkit.model.mlp import ACTIVATION_FUNCTIONS
from llmkit.model.recurrent.conv import CausalConv
from llmkit.model.recurrent.delta_rule import delta_rule
from llmkit.model.recurrent.layer import Recurrent

_EPS = 1e-6
"""Added to the squared length of queries and keys."""


class GatedNorm(nn.Module):
    """RMSNorm of a head, times silu of its gate; nothing is added to the weight, whatever other norms do."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """x and gate: (..., width). Returns the same, in the gate's dtype."""
        normed = F.rms_norm(wide(x), (x.shape[-1],), eps=self.eps).to(gate.dtype)
        return (normed * self.weight * F.silu(wide(gate))).to(gate.dtype)


class GatedDelta(Recurrent):
    """Queries, keys and values through a convolution and the rule, a norm with a gate, and a last product."""

    def __init__(self, config: ModelConfig, delta: DeltaConfig) -> None:
        super().__init__()
        self.delta = delta
        D, W = config.hidden_size, delta.num_value_heads
        self.act = ACTIVATION_FUNCTIONS[config.hidden_act]
        if delta.inputs_by_head:
            self.in_proj_qkvz = nn.Linear(D, delta.convolved + delta.value_width, bias=False)
            self.in_proj_ba = nn.Linear(D, 2 * W, bias=False)
        else:
            self.in_proj_qkv = nn.Linear(D, delta.convolved, bias=False)
            self.in_proj_z = nn.Linear(D, delta.value_width, bias=False)
            self.in_proj_b = nn.Linear(D, W, bias=False)
            self.in_proj_a = nn.Linear(D, W, bias=False)
        self.conv1d = CausalConv(delta.convolved, delta.kernel)
        self.dt_bias = nn.Parameter(torch.ones(W))
        self.A_log = nn.Parameter(torch.empty(W).uniform_(0.01, 16).log_())
        self.norm = GatedNorm(delta.value_head_dim, config.norm_eps)
        self.out_proj = nn.Linear(delta.value_width, D, bias=False)

    def inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """What is convolved, (B, T, 2GX + WY); the gate, (B, T, WY); and what rates and decays are made of,
        (B, T, W) each."""
        if not self.delta.inputs_by_head:
            return self.in_proj_qkv(x), self.in_proj_z(x), self.in_proj_b(x), self.in_proj_a(x)
        G, shared = self.delta.num_key_heads, self.delta.num_value_heads // self.delta.num_key_heads
        values = shared * self.delta.value_head_dim
        widths = (self.delta.key_head_dim, self.delta.key_head_dim, values, values)
        q, k, v, z = (
            one.flatten(2) for one in self.in_proj_qkvz(x).unflatten(2, (G, -1)).split(widths, dim=3)
        )
        b, a = (one.flatten(2) for one in self.in_proj_ba(x).unflatten(2, (G, -1)).chunk(2, dim=3))
        return torch.cat((q, k, v), -1), z, b, a

    def read(
        self, inputs: Sequence[Tensor], before: Sequence[Tensor] | None, segments: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `Recurrent.read`."""
        qkv, z, b, a = inputs
        conv, state = (None, None) if before is None else before
        qkv, last = self.conv1d(qkv, conv, segments)
        with torch.autocast(qkv.device.type, enabled=False):
            read, state = self._rule(self.act(qkv), b, a, state, segments)
        y = self.norm(read, z.unflatten(2, (self.delta.num_value_heads, -1)))
        return y.flatten(2), (last, state)

    def _rule(
        self, qkv: Tensor, b: Tensor, a: Tensor, state: Tensor | None, segments: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(B, T, W, Y) float32, and the matrices after the last position."""
        delta = self.delta
        widths = (delta.key_width, delta.key_width, delta.value_width)
        q, k, v = wide(qkv).split(widths, dim=-1)
        q, k = (_unit(one.unflatten(2, (delta.num_key_heads, -1))) for one in (q, k))
        shared = delta.num_value_heads // delta.num_key_heads
        q, k = (one.repeat_interleave(shared, dim=2) if shared > 1 else one for one in (q, k))
        decay = -wide(here(self.A_log)).exp() * F.softplus(wide(a) + wide(here(self.dt_bias)))
        q, k, v, g, rate = (
            one.transpose(1, 2)
            for one in (
                q * delta.key_head_dim**-0.5,
                *(k, v.unflatten(2, (delta.num_value_heads, -1)), decay, wide(b).sigmoid()),
            )
        )
        read, state = delta_rule(q, k, v, g, rate, state, segments)
        return read.transpose(1, 2), state


def _unit(x: Tensor) -> Tensor:
    """Of length 1 in the last dimension."""
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + _EPS)
