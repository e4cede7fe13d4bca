"""Adapters for tests of the served tiny model: random, by the names of paths that nobody reads."""

import torch

from llmkit.errors import MissingError
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.server.adapters import AdapterSpec

PLACE = "model.layers.0.self_attn.q_proj"
BYTES = 4 * 2 * (16 + 16)
"""Two factors of rank 2, in float32."""


def weights(seed: int, inputs: int = 16) -> AdapterWeights:
    """Rank 2, on the queries of the first layer."""
    generator = torch.Generator().manual_seed(seed)
    A, B = torch.randn(2, inputs, generator=generator), torch.randn(16, 2, generator=generator)
    return AdapterWeights({PLACE: LowRank(A, B, 1.0)})


def read(spec: AdapterSpec) -> AdapterWeights:
    """`one`, `two`, …: adapters; `wide`: another model's; all else is not there."""
    if spec.path == "wide":
        return weights(1, inputs=24)
    if spec.path not in ("one", "two", "three"):
        raise MissingError(f"{spec.path}: no adapter", hint="look")
    return weights(len(spec.path) * 7 + ord(spec.path[0]))
