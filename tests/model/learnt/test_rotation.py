"""Rotary positions by the kernels beside `rotate`."""

import pytest
import torch
from torch import Tensor

from llmkit.kernels.library import available, why_not
from llmkit.model.learnt.rotation import rotated
from llmkit.model.rope import rotate

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")


def _inputs(half: int, rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 37, 3, 40, generator=draw).to(dtype).transpose(1, 2).requires_grad_()
    shape = (37, half) if rows == 0 else (rows, 1, 37, half)
    angles = torch.randn(shape, generator=draw) * 9
    return x, angles.cos(), angles.sin(), torch.randn(2, 3, 37, 40, generator=draw).to(dtype)


@pytest.mark.parametrize("half", [20, 16, 5])
@pytest.mark.parametrize("rows", [0, 2])
def test_it_turns_as_rotate_does_and_its_gradient_turns_back(half: int, rows: int) -> None:
    x, cos, sin, grad = _inputs(half, rows, torch.float32)
    found, expected = rotated(x, cos, sin), rotate(x, cos, sin)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    one, other = (torch.autograd.grad(y, x, grad)[0] for y in (found, expected))
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_in_bfloat16_it_is_rounded_once() -> None:
    x, cos, sin, grad = _inputs(20, 2, torch.bfloat16)
    found = rotated(x, cos, sin)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, rotate(x.float(), cos, sin).bfloat16())
    (slopes,) = torch.autograd.grad(found, x, grad)
    assert torch.equal(slopes, rotate(grad.float(), cos, -sin).bfloat16())


def test_rotations_of_another_shape_are_refused() -> None:
    x, cos, sin, _ = _inputs(20, 2, torch.float32)
    for bad in ((cos[:, :, :-1], sin[:, :, :-1]), (cos[:1], sin[:1]), (cos, sin[..., :-1])):
        with pytest.raises(ValueError, match="rotations"):
            rotated(x, *bad)
