"""The feed-forward half of a block: gated (SwiGLU) or plain."""

from collections.abc import Callable

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

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        gate, up = linear_layers(x, self.gate_proj, self.up_proj)
        if self.act is F.silu and takes(gate, gate.dtype):
            return self.down_proj(silu_gated(gate, up))
        return self.down_proj(self.act(gate) * up)


class PlainMLP(nn.Module):
    """down(act(up(x))), as in GPT-2."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D, F_, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.up_proj = nn.Linear(D, F_, bias=bias)
        self.down_proj = nn.Linear(F_, D, bias=bias)
        self.act = ACTIVATION_FUNCTIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        return self.down_proj(self.act(self.up_proj(x)))


def build_mlp(config: ModelConfig) -> nn.Module:
    """The MLP of a block, as the config says."""
    return GatedMLP(config) if config.gated_mlp else PlainMLP(config)
