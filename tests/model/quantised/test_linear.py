"""A layer over codes: what it keeps, what it computes, and the gradient that it hands on."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.quantised.linear import QuantisedLinear
from llmkit.model.quantised.nf4 import nf4


def _layer(dtype: torch.dtype = torch.float32) -> tuple[QuantisedLinear, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(48, 128, generator=generator)
    bias = torch.randn(48, generator=generator)
    codes = nf4(weight)
    return QuantisedLinear(codes, bias, dtype), codes.dense(codes.tensors, torch.float32), bias


def test_outputs_and_gradients_are_those_of_the_dequantised_matrix() -> None:
    layer, dense, bias = _layer()
    x = torch.randn(2, 5, 128, generator=torch.Generator().manual_seed(1))
    results = []
    for compute in (layer, lambda x: F.linear(x, dense, bias)):
        mine = x.clone().requires_grad_()
        y = compute(mine)
        y.square().sum().backward()
        results.append((y.detach(), mine.grad))
    for one, other in zip(*results, strict=True):
        assert one is not None and other is not None
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-5)


def test_only_codes_and_steps_are_kept_before_and_after_a_step() -> None:
    layer, _, _ = _layer()
    x = torch.randn(3, 128, requires_grad=True)
    layer(x).sum().backward()
    held = [*layer.buffers(), *(one for one in layer.__dict__.values() if isinstance(one, Tensor))]
    assert sum(one.nbytes for one in held) == layer.nbytes == 48 * 128 // 2 + 48 * 128 // 64 * 4
    assert layer.nbytes < 48 * 128 * 0.6
    assert not any(one.requires_grad for one in layer.parameters())


def test_nothing_between_the_products_is_saved_for_the_gradient() -> None:
    layer, _, _ = _layer()
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(torch.randn(3, 128, requires_grad=True))
    assert saved == []


def test_a_change_of_dtype_leaves_codes_and_steps_alone() -> None:
    layer, dense, _ = _layer()
    layer = copy.deepcopy(layer).to(torch.bfloat16)
    assert torch.equal(layer.dense(torch.float32), dense)


def test_autocast_computes_in_its_own_dtype() -> None:
    layer, dense, bias = _layer()
    x = torch.randn(3, 128)
    linear = nn.Linear(128, 48)
    linear.weight, linear.bias = nn.Parameter(dense), nn.Parameter(bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, expected = layer(x), linear(x)
    assert y.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected, rtol=2e-2, atol=0.2)
