"""Fresh weights, as GPT-2 and the Llama recipes draw them, reproducible from a generator."""

import torch

from llmkit.model.transformer import Transformer


@torch.no_grad()
def initialise(model: Transformer, generator: torch.Generator) -> None:
    """Draw every weight of a Transformer.

    Matrices are normal with standard deviation `initializer_range`; those that write into the residual stream
    (o_proj, down_proj) are scaled by 1 / sqrt(2 * num_hidden_layers), so that its variance does not grow with
    depth (GPT-2, section 2.3). Norm weights are 1 and biases 0.

    Args:
        model: on any device.
        generator: a CPU generator: the same seed gives the same weights on every device.
    """
    config = model.config
    residual = config.initializer_range / (2 * config.num_hidden_layers) ** 0.5
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        into_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
        std = residual if into_stream else config.initializer_range
        fresh = torch.empty(parameter.shape, dtype=torch.float32, device="cpu")
        parameter.copy_(fresh.normal_(0.0, std, generator=generator))
