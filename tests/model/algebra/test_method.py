"""The names of the ways to merge models."""

from typing import get_args

import torch

from llmkit.model.algebra.method import Method
from llmkit.model.algebra.mix import Recipe, mix


def test_each_name_is_a_way_of_its_own() -> None:
    random = torch.Generator().manual_seed(0)
    models = [torch.randn(64, generator=random) for _ in range(2)]
    mixed = {
        method: mix(
            Recipe(method=method, weights=(0.5, 0.3), densities=(0.5, 0.5), normalize=method == "ties"),
            "name",
            models,
            torch.full((64,), 0.1),
        )
        for method in get_args(Method)
    }
    assert len({tuple(one.tolist()) for one in mixed.values()}) == len(mixed) == 7
