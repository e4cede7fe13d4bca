"""An adapter's values made ready to be added to the base's products.

Shapes: r rank.
"""

import torch
from torch import Tensor

from llmkit.engine.adapters.values import Adapter, Addition, digest_of
from llmkit.engine.native.weights import PackedModel
from llmkit.errors import DataError, UsageError
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.shapes import tensor_shapes
from llmkit.model.transformer import Transformer

_MERGE = "llmkit merge makes one model of the base and the adapter, which can do it"


@torch.no_grad()
def prepare_adapter(
    model: Transformer | PackedModel, name: str, weights: AdapterWeights, *, strength: float = 1.0
) -> Adapter:
    """What an adapter adds, module by module.

    Args:
        model: the base.
        name: what requests call the adapter.
        weights: as they were read.
        strength: what its scale is multiplied with.

    Raises:
        UsageError: it changes what nothing is added to at run time: embeddings, the head, whole modules; or
            DoRA, where the base's weights are given up.
        DataError: it is another model's.
    """
    if weights.whole:
        raise UsageError(
            f"adapter {name!r}: has tensors in place of the base's, to which nothing is added at run time "
            f"(modules_to_save: {', '.join(sorted(weights.whole))})",
            hint=_MERGE,
        )
    shapes = tensor_shapes(model.config)
    made = {
        place: _addition(model, name, place, shapes.get(f"{place}.weight", ()), one, strength)
        for place, one in weights.modules.items()
    }
    return Adapter(name, made, digest_of(made))


def _addition(
    model: Transformer | PackedModel,
    name: str,
    place: str,
    shape: tuple[int, ...],
    one: LowRank,
    strength: float,
) -> Addition:
    if not place.startswith("model.layers."):
        raise UsageError(
            f"adapter {name!r}: changes {place}, to which nothing is added at run time", hint=_MERGE
        )
    if len(shape) != 2 or place.endswith(".mlp.gate"):  # a router
        raise UsageError(
            f"adapter {name!r}: changes {place}, which is no matrix of its own in this model", hint=_MERGE
        )
    outputs, inputs = shape
    found = (one.A.shape[1], one.B.shape[0])
    if found != (inputs, outputs):
        raise DataError(
            f"adapter {name!r}: {place} takes {inputs:,} numbers to {outputs:,} "
            f"(found {found[0]:,} to {found[1]:,} in the adapter)",
            hint="it was trained on another base: its adapter_config.json names it",
        )
    device = "cpu" if isinstance(model, PackedModel) else model.model.embed_tokens.weight.device
    a = one.A.detach().to(device, torch.float32).contiguous()
    b = one.B.detach().to(device, torch.float32) * one.scale  # (out, r)
    if one.magnitude is None:
        return Addition(a, (b * strength).T.contiguous())
    lengths = one.magnitude.detach().to(device, torch.float32)
    factors = lengths / torch.addmm(_weight(model, name, place), b, a).norm(dim=1)  # of the rows of W + B A
    # of a part of its strength the way between the base's matrix and DoRA's, as `LowRank.merged` goes it
    return Addition(a, (b * (strength * factors)[:, None]).T.contiguous(), 1 - strength + strength * factors)


def _weight(model: Transformer | PackedModel, name: str, place: str) -> Tensor:
    """The base's matrix, for DoRA."""
    weight = None if isinstance(model, PackedModel) else model.get_submodule(place).weight
    if not isinstance(weight, Tensor) or not weight.numel():
        raise UsageError(
            f"adapter {name!r}: DoRA needs the norms of the base's weights, which were given up after "
            "packing",
            hint="name it with --adapter at the start",
        )
    return weight.float()
