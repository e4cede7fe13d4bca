"""Matrices in parts multiply as whole ones do, and their gradients are parts of the whole ones'."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from llmkit.model.quantised.float8_linear import Float8Linear
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.parallel_linear import all_positions, cut_inputs, cut_outputs
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.parallel.tensors import local

AXES = {"first.weight": 0, "first.bias": 0, "second.weight": 1}
"""What is cut, and by which dimension. The second bias is whole, and learns from the positions here."""


def two_products(kind: type[nn.Linear], in_parts: bool) -> dict[str, Any]:
    """Two products, one after the other, cut by what comes out and by what goes in: what they give."""
    generator = torch.Generator().manual_seed(3)
    module = nn.ModuleDict({"first": kind(32, 64), "second": kind(64, 32)})
    for one in module.parameters():
        rows = torch.logspace(-2, 1, one.shape[0]).view(-1, *[1] * (one.ndim - 1))
        one.data = torch.randn(one.shape, generator=generator) * rows  # parts of different largest numbers
    whole = torch.randn(2, 16, 32, generator=generator)
    weights = torch.randn(2, 16, 32, generator=generator)
    x = whole.requires_grad_()
    if in_parts:
        ranks = MeshRanks(Degrees(tp=2), torch.device("cpu"))
        cut_outputs(module["first"], ranks.mesh["tp"])
        cut_inputs(module["second"], ranks.mesh["tp"])
        x, weights = (one.detach().chunk(2, 1)[ranks.stream.index] for one in (whole, weights))
        x.requires_grad_()
    y = module["second"](module["first"](all_positions(x, ranks.group("tp")) if in_parts else x))
    (y * weights).sum().backward()
    found = {name: local(one.grad) for name, one in module.named_parameters() if one.grad is not None}
    return {name: one.detach().numpy() for name, one in {"y": y, "x": x.grad, **found}.items()}


@pytest.mark.parametrize("kind", [nn.Linear, Float8Linear])
def test_products_of_parts_are_those_of_whole_matrices_forwards_and_backwards(
    on_ranks: Callable[..., Any], kind: type[nn.Linear]
) -> None:
    """In float8 with the scales of whole tensors: of parts' own the codes would be others."""
    expected = two_products(kind, False)
    one, other = on_ranks(2, two_products, kind, True)
    joined = {name: np.concatenate((one[name], other[name]), axis) for name, axis in AXES.items()}
    joined |= {name: np.concatenate((one[name], other[name]), 1) for name in ("y", "x")}
    joined["second.bias"] = one["second.bias"] + other["second.bias"]
    assert joined.keys() == expected.keys()
    for name, found in joined.items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-4, err_msg=name)
