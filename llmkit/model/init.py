"""Fresh weights, as GPT-2 and the Llama recipes draw them, reproducible from a generator."""

import math

import torch

from llmkit.model.mlp import XIELU
from llmkit.model.shapes import CONVOLUTIONS
from llmkit.model.transformer import Transformer

_INTO_STREAM = ("o_proj.weight", "out_proj.weight", "down_proj.weight", "experts.down_proj")
_FACTORS = (".gate.scale", ".gate.per_expert_scale")
"""Of Gemma 4's routers."""
_OF_STATES = ("dt_bias", "A_log", "mamba.D")
_DECAYS = (0.01, 16.0)
"""What the decays of the gated delta rule begin between, before their logarithm (2412.06464)."""
_MAMBA_DECAYS, _MAMBA_STEPS = (1.0, 16.0), (0.001, 0.1)
"""The same of Mamba-2, and what its steps begin between (2405.21060)."""


@torch.no_grad()
def initialise(model: Transformer, generator: torch.Generator) -> None:
    """Draw every weight of a Transformer.

    Matrices are normal with standard deviation `initializer_range`; those that write into the residual stream
    (o_proj, out_proj, down_proj) are scaled by 1 / sqrt(2 * num_hidden_layers): so its variance does not grow
    with depth (GPT-2, section 2.3). Stacked matrices of experts are drawn one by one, the router like any
    matrix. Norms begin as they find things (a weight of 1, or 0 where 1 is added to it); biases and sinks are
    0. Convolutions are uniform, as PyTorch draws them; steps of the delta rule are 1, its decays uniform, and
    so are Mamba-2's, whose steps' logarithms are uniform too. The factors of xIELU begin at the 0.8 of its
    paper. Buffers are left alone.

    Args:
        model: on any device.
        generator: a CPU generator: the same seed gives the same weights on every device.
    """
    config = model.config
    residual = config.initializer_range / (2 * config.num_hidden_layers) ** 0.5
    for name, parameter in model.named_parameters():
        if name.endswith(_OF_STATES):
            parameter.copy_(_of_states(name, parameter, generator))
            continue
        if name.endswith(CONVOLUTIONS):
            bound = parameter.shape[-1] ** -0.5
            parameter.copy_(_uniform(parameter, -bound, bound, generator))
            continue
        if name.endswith(_FACTORS):
            parameter.fill_(1.0)
            continue
        if name.endswith("bias") or parameter.dim() == 1:
            begins_at_0 = config.norm_plus_one and not name.endswith("linear_attn.norm.weight")
            parameter.fill_(1.0 if name.endswith("weight") and not begins_at_0 else 0.0)
            continue
        into_stream = name.endswith(_INTO_STREAM)
        std = residual if into_stream else config.initializer_range
        for matrix in parameter if parameter.dim() == 3 else [parameter]:
            fresh = torch.empty(matrix.shape, dtype=torch.float32, device="cpu")
            matrix.copy_(fresh.normal_(0.0, std, generator=generator))
    for module in model.modules():
        if isinstance(module, XIELU):
            module.reset()


def _of_states(name: str, like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What the decays and steps of a layer of state begin with, and what passes by a state space."""
    is_mamba = ".mamba." in name
    if name.endswith("A_log"):
        return _uniform(like, *(_MAMBA_DECAYS if is_mamba else _DECAYS), generator).log_()
    if is_mamba and name.endswith("dt_bias"):
        low, high = map(math.log, _MAMBA_STEPS)
        steps = _uniform(like, low, high, generator).exp_()
        return steps + torch.log(-torch.expm1(-steps))  # whose softplus is the step
    return torch.ones(like.shape)


def _uniform(like: torch.Tensor, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.empty(like.shape, dtype=torch.float32, device="cpu").uniform_(low, high, generator=generator)
