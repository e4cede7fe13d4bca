"""The feed-forward half of a block: gated (SwiGLU) or plain."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.config import ModelConfig
from llmkit.model.joined_linear import linear_layers
from llmkit.model.learnt.gate import silu_gated
from llmkit.model.learnt.operations import takes


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _relu_squared(x: Tensor) -> Tensor:
    return F.relu(x).square()


ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": F.relu,
    "relu2": _relu_squared,
}


class XIELU(nn.Module):
    """xIELU (2411.13010): a parabola above 0 and an exponential below, each with a factor that is learnt.

    Attribute names are the tensor names of the apertus family.
    """

    beta: Tensor
    eps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p, self.alpha_n = nn.Parameter(torch.empty(1)), nn.Parameter(torch.empty(1))
        self.register_buffer("beta", torch.tensor(0.5))
        self.register_buffer("eps", torch.tensor(-1e-6))
        self.reset()

    def reset(self) -> None:
        """Both factors as training begins: 0.8."""
        with torch.no_grad():
            self.alpha_p.fill_(math.log(math.expm1(0.8)))
            self.alpha_n.fill_(math.log(math.expm1(0.8 - 0.5)))

    def forward(self, x: Tensor) -> Tensor:
        """x: any shape. Returns the same shape."""
        above, below = F.softplus(self.alpha_p), self.beta + F.softplus(self.alpha_n)
        curve = torch.where(x > 0, above * x * x, (torch.expm1(torch.min(x, self.eps)) - x) * below)
        return curve + self.beta * x


class GatedMLP(nn.Module):
    """down(act(gate(x)) * up(x)): SwiGLU when act is silu (2002.05202)."""

    def __init__(self, config: ModelConfig, intermediate_size: int | None = None) -> None:
        """
        Args:
            config: of the model.
            intermediate_size: F, where it is not the config's.
        """
        super().__init__()
        D, F_, bias = config.hidden_size, intermediate_size or config.intermediate_size, config.mlp_bias
        self.gate_proj = nn.Linear(D, F_, bias=bias)
        self.up_proj = nn.Linear(D, F_, bias=bias)
        self.down_proj = nn.Linear(F_, D, bias=bias)
        self.act = ACTIVATION_FUNCTIONS[config.hidden_act]
        self.gate_scale = 1.0 if config.multipliers is None else config.multipliers.mlp_gate

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        gate, up = linear_layers(x, self.gate_proj, self.up_proj)
        if self.gate_scale != 1.0:
            gate = gate * self.gate_scale
        if self.act is F.silu and takes(gate, gate.dtype):
            return self.down_proj(silu_gated(gate, up))
        return self.down_proj(self.act(gate) * up)


class PlainMLP(nn.Module):
    """down(act(up(x))), as in GPT-2; an activation with tensors of its own is called act_fn."""

    def __init__(self, config: ModelConfig, intermediate_size: int | None = None) -> None:
        """As for `GatedMLP`."""
        super().__init__()
        D, F_, bias = config.hidden_size, intermediate_size or config.intermediate_size, config.mlp_bias
        self.up_proj = nn.Linear(D, F_, bias=bias)
        self.down_proj = nn.Linear(F_, D, bias=bias)
        if config.hidden_act == "xielu":
            self.act_fn = XIELU()
        self.act = ACTIVATION_FUNCTIONS.get(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        return self.down_proj((self.act or self.act_fn)(self.up_proj(x)))


def build_mlp(config: ModelConfig, width: int) -> nn.Module:
    """An MLP so wide, with a gate or none as the config says."""
    return (GatedMLP if config.gated_mlp else PlainMLP)(config, width)
