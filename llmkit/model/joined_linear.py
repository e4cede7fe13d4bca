"""Several linear layers of one input as one product: a GPU's matrix units want it large."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.quantised.float8_linear import Float8Linear, float8_linear


def linear_layers(x: Tensor, *layers: nn.Module) -> list[Tensor]:
    """What each layer makes of x.

    On a GPU in training plain layers are joined: one product forwards in the place of several, and backwards
    one for x whose parts need not be added up. Their weights stay apart, and are copied side by side for it.

    Args:
        x: (..., D).
        layers: modules of D numbers in, each nn.Linear or one that stands for it.

    Returns:
        (..., F) of each.
    """
    if not (_pays(x) and _are_plain(layers)):
        return [layer(x) for layer in layers]
    weights, biases = zip(*((layer.weight, layer.bias) for layer in layers), strict=True)
    bias = None if biases[0] is None else torch.cat(biases)
    if isinstance(layers[0], Float8Linear):
        y = float8_linear(x, weights, bias, largest=layers[0].largest)
    else:
        y = F.linear(x, torch.cat(weights), bias)
    return list(y.split([len(weight) for weight in weights], dim=-1))


def _pays(x: Tensor) -> bool:
    return x.device.type == "cuda" and torch.is_grad_enabled()


def _are_plain(layers: tuple[nn.Module, ...]) -> bool:
    """Layers of one kind as they are: no adapter around them, not cut, all with a bias or none."""
    kind = type(layers[0])
    return (
        kind in (nn.Linear, Float8Linear)
        and all(type(layer) is kind for layer in layers)
        and len({layer.bias is None for layer in layers}) == 1
    )
