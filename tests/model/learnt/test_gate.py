"""SwiGLU by the kernels beside PyTorch's silu and product."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.kernels.library import available, why_not
from llmkit.model.learnt.gate import silu_gated

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")


def _inputs(count: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    drawn = [(torch.randn(3, count, generator=draw) * 6).to(dtype) for _ in range(3)]
    return [drawn[0].requires_grad_(), drawn[1].requires_grad_(), drawn[2]]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 5000])
def test_it_and_its_gradients_are_those_of_pytorch(count: int) -> None:
    gate, up, grad = _inputs(count)
    found, expected = silu_gated(gate, up), F.silu(gate.double()) * up.double()
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    slopes = torch.autograd.grad(found, (gate, up), grad)
    for one, other in zip(slopes, torch.autograd.grad(expected, (gate, up), grad.double()), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-6, atol=2e-6)


def test_in_bfloat16_each_number_is_rounded_once() -> None:
    gate, up, grad = _inputs(333, torch.bfloat16)
    found = silu_gated(gate, up)
    wide = [one.detach().double().requires_grad_() for one in (gate, up)]
    expected = F.silu(wide[0]) * wide[1]
    slopes = torch.autograd.grad(found, (gate, up), grad)
    exact = torch.autograd.grad(expected, wide, grad.double())
    for one, other in zip((found, *slopes), (expected, *exact), strict=True):
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one.double(), other, rtol=2**-8, atol=1e-6)  # half a unit, and a tie


def test_numbers_far_from_zero_and_none_at_all() -> None:
    gate = torch.tensor([-200.0, 200.0, torch.nan, torch.inf], requires_grad=True)
    up = torch.ones(4, requires_grad=True)
    found = silu_gated(gate, up)
    assert found[:2].tolist() == [pytest.approx(0, abs=1e-30), 200.0] and found[2].isnan()
    assert silu_gated(gate[:0], up[:0]).shape == (0,)


def test_strides_are_read_and_other_shapes_refused() -> None:
    gate, up, _ = _inputs(20)
    assert torch.equal(silu_gated(gate.T, up.T), silu_gated(gate, up).T)
    with pytest.raises(ValueError, match="a gate"):
        silu_gated(gate, up[:, :5])


def test_only_gate_and_up_are_kept() -> None:
    gate, up, _ = _inputs(64)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        silu_gated(gate, up)
    assert {one.data_ptr() for one in kept} == {gate.data_ptr(), up.data_ptr()}
