"""Random adapters, and the models that they make of a base when they are merged: the slow twin of adding."""

from copy import deepcopy

import torch
from torch import nn

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.transformer import Transformer

GREEDY = SamplingConfig(max_tokens=12, temperature=0.0, ignore_eos=True)


def adapter(
    model: Transformer, seed: int, rank: int = 3, *, dora: bool = False, only: str = ""
) -> AdapterWeights:
    """Changes every linear module of the layers whose name ends as asked for."""
    draw = torch.Generator().manual_seed(seed)
    modules = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or not name.startswith("model.layers.") or only not in name:
            continue
        a = torch.randn(rank, module.in_features, generator=draw) * 0.3
        b = torch.randn(module.out_features, rank, generator=draw) * 0.3
        lengths = torch.rand(module.out_features, generator=draw) + 0.5 if dora else None
        modules[name] = LowRank(a, b, 0.7, lengths)
    return AdapterWeights(modules)


def merged(model: Transformer, weights: AdapterWeights, strength: float = 1.0) -> Transformer:
    """The model with an adapter in its matrices."""
    twin = deepcopy(model)
    with torch.no_grad():
        for name, one in weights.modules.items():
            weight = twin.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            weight.copy_(one.merged(weight, strength))
    return twin


def write(engine: Engine, requests: list[Request]) -> list[list[int]]:
    """The ids of each request's text, all at once."""
    texts: dict[int, list[int]] = {engine.submit(request): [] for request in requests}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None, event.error
            texts[event.number].append(event.drawn.id)
    return list(texts.values())


def prompt(seed: int, length: int, vocab_size: int = 40) -> tuple[int, ...]:
    """Random ids."""
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(vocab_size, (length,), generator=draw).tolist())
