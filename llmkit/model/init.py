"""Fresh weights, as GPT-2 and the Llama recipes draw them, reproducible from a generator."""

import torch

from llmkit.model.transformer import Transformer

_INTO_STREAM = ("o_proj.weight", "down_proj.weight", "experts.down_proj")


@torch.no_grad()
def initialise(model: Transformer, generator: torch.Generator) -> None:
    """Draw every weight of a Transformer.

    Matrices are normal with standard deviation `initializer_range`; those that write into the residual stream
    (o_proj, down_proj) are scaled by 1 / sqrt(2 * num_hidden_layers), so that its variance does not grow with
    depth (GPT-2, section 2.3). Stacked matrices of experts are drawn one by one, the router like any matrix.
    Norms begin as they find things (a weight of 1, or 0 where 1 is added to it); biases and sinks are 0.
    Buffers are left alone.

    Args:
        model: on any device.
        generator: a CPU generator: the same seed gives the same weights on every device.
    """
    config = model.config
    residual = config.initializer_range / (2 * config.num_hidden_layers) ** 0.5
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or parameter.dim() == 1:
            is_norm = name.endswith("weight")
            parameter.fill_(1.0 if is_norm and not config.norm_plus_one else 0.0)
            continue
        into_stream = name.endswith(_INTO_STREAM)
        std = residual if into_stream else config.initializer_range
        for matrix in parameter if parameter.dim() == 3 else [parameter]:
            fresh = torch.empty(matrix.shape, dtype=torch.float32, device="cpu")
            matrix.copy_(fresh.normal_(0.0, std, generator=generator))
