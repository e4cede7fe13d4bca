"""Rows times the matrices of their experts: against a loop that autograd sees, and PyTorch's own kernel."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.model import grouped_linear as module
from llmkit.model.grouped_linear import grouped_linear

D, O = 16, 24  # noqa: E741 (out)
COUNTS = torch.tensor([3, 0, 5, 1])
OWNER = torch.arange(4).repeat_interleave(COUNTS)


def _given(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = (len(OWNER), D), (4, O, D), (4, O)
    rows, weight, bias = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return rows.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def _slow(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Row after row."""
    mapped = [weight[owner] @ row for row, owner in zip(rows, OWNER, strict=True)]
    return torch.stack(mapped) + (0 if bias is None else bias[OWNER])


@pytest.mark.parametrize("biased", [False, True])
def test_it_is_a_product_for_each_row_with_its_gradients(biased: bool) -> None:
    rows, weight, bias = _given()
    wanted = (rows, weight, bias) if biased else (rows, weight)
    found = grouped_linear(rows, weight, bias if biased else None, OWNER, COUNTS)
    expected = _slow(rows, weight, bias if biased else None)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    slope = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for one, other in zip(
        torch.autograd.grad(found, wanted, slope), torch.autograd.grad(expected, wanted, slope), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_what_is_frozen_gets_no_gradient_and_the_rest_does() -> None:
    rows, weight, _ = _given()
    grouped_linear(rows, weight.detach(), None, OWNER, COUNTS).sum().backward()
    assert rows.grad is not None
    rows, weight, _ = _given()
    grouped_linear(rows.detach(), weight, None, OWNER, COUNTS).sum().backward()
    assert weight.grad is not None


def test_under_autocast_it_computes_in_what_products_are_computed_in() -> None:
    rows, weight, bias = _given(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = grouped_linear(rows, weight, bias, OWNER, COUNTS)
        expected = F.linear(rows[-1:], weight[3], bias[3])
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found[-1:], expected, rtol=0, atol=0.02 * expected.abs().max().item())
    found.float().sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32


@pytest.mark.parametrize("biased", [False, True])
def test_pytorchs_kernel_gives_the_same(biased: bool) -> None:
    # it is for bfloat16 on a GPU, and exists on a CPU too, so that its path can be walked here
    rows, weight, bias = _given(torch.bfloat16)
    own = bias if biased else None
    wanted = (rows, weight, bias) if biased else (rows, weight)
    found = module._by_kernel(rows, weight, own, OWNER, COUNTS)
    expected = grouped_linear(rows, weight, own, OWNER, COUNTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01 * expected.abs().max().item())
    slope = torch.ones_like(found)  # the kernel refuses one of no strides, as sum() gives
    for one, other in zip(
        torch.autograd.grad(found, wanted, slope), torch.autograd.grad(expected, wanted, slope), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0.01 * other.abs().max().item())


@pytest.mark.parametrize("biased", [False, True])
def test_rows_that_are_rounded_up_read_nothing_of_the_experts_behind_them(biased: bool) -> None:
    # in bfloat16 a product reaches into the rows of experts that come later: those cannot be told apart here
    rows, weight, bias = _given(torch.bfloat16)
    own = bias if biased else None
    broken = rows.detach().clone()
    broken[3:] = float("nan")
    broken.requires_grad_()
    found, expected = (grouped_linear(one, weight, own, OWNER, COUNTS) for one in (broken, rows))
    assert torch.equal(found[:3], expected[:3]) and found.shape == expected.shape and found.is_contiguous()
    slope = torch.ones_like(found)
    of_rows, of_weight = torch.autograd.grad(found, (broken, weight), slope)
    wanted, of_weight_wanted = torch.autograd.grad(expected, (rows, weight), slope)
    assert torch.equal(of_rows, wanted) and torch.equal(of_weight[0], of_weight_wanted[0])
    assert not of_weight[1].any() and of_weight[2].isnan().all()


def test_in_bfloat16_products_on_a_cpu_have_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    found, product = set(), torch.mm

    def noted(left: Tensor, right: Tensor, **changes: Tensor) -> Tensor:
        found.add(tuple(left.shape))
        return product(left, right, **changes)

    monkeypatch.setattr(torch, "mm", noted)

    def shapes(dtype: torch.dtype) -> set[tuple[int, ...]]:
        found.clear()
        weight = torch.randn(2, O, D).to(dtype).requires_grad_()
        for count in range(1, 512, 5):
            counts = torch.tensor([count, 512 - count])
            rows = torch.randn(512, D).to(dtype).requires_grad_()
            grouped_linear(
                rows, weight, None, torch.arange(2).repeat_interleave(counts), counts
            ).sum().backward()
        return {shape for shape in found if all(shape)}

    rows = {32, 64, 128, 256, 512}
    summed = {32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512}
    expected = {(count, width) for count in rows for width in (D, O)} | {(O, count) for count in summed}
    assert shapes(torch.bfloat16) == expected
    assert len(shapes(torch.float32)) > 300


def test_pytorch_finds_nothing_wrong_with_the_operation() -> None:
    rows, weight, bias = _given()
    torch.library.opcheck(torch.ops.llmkit.grouped_linear.default, (rows, weight, bias, COUNTS))
    torch.library.opcheck(torch.ops.llmkit.grouped_outer.default, (rows.detach(), rows.detach(), COUNTS))
