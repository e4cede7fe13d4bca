"""RMSNorm and its written-out gradient against PyTorch's own."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from llmkit.model.config import ModelConfig
from llmkit.model.norm import LayerNorm, RMSNorm, norm_of_width


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 16), (2, 3, 4, 6)])
def test_the_value_and_both_gradients_are_those_of_pytorch(shape: tuple[int, ...], transposed: bool) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(shape[-1], 1e-5)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(shape, requires_grad=True)
    weight = norm.weight.detach().clone().requires_grad_()
    other = x.detach().clone().requires_grad_()
    grad = torch.randn(shape)
    if transposed:  # attention hands in views
        grad = grad.transpose(0, 1).contiguous().transpose(0, 1)
    y, expected = norm(x), F.rms_norm(other, shape[-1:], weight, 1e-5)
    torch.testing.assert_close(y, expected)
    y.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(x.grad, other.grad)
    torch.testing.assert_close(norm.weight.grad, weight.grad)


def test_the_gradient_agrees_with_finite_differences_on_the_smallest_case() -> None:
    norm = RMSNorm(2, 0.0)
    x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    norm(x)[0, 0].backward()
    # y0 = sqrt(2) x0 / |x|, so dy0/dx0 = sqrt(2) x1^2 / |x|^3 and dy0/dx1 = -sqrt(2) x0 x1 / |x|^3
    expected = torch.tensor([[2**0.5 * 16 / 125, -(2**0.5) * 12 / 125]])
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gemmas_norm_multiplies_with_one_more_than_its_weight(dtype: torch.dtype) -> None:
    norm, x = RMSNorm(16, 1e-6, plus_one=True).to(dtype), torch.randn(4, 16, dtype=dtype)
    assert not norm.weight.any()  # fresh, it multiplies with 1
    torch.nn.init.normal_(norm.weight)
    unit = x.float() / (x.float().square().mean(-1, keepdim=True) + 1e-6).sqrt()
    expected = (unit * (1.0 + norm.weight.float())).to(dtype)  # rounded once, as transformers does
    torch.testing.assert_close(norm(x), expected, rtol=1e-5 if dtype == torch.float32 else 0, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected, rtol=1e-5 if dtype == torch.float32 else 0, atol=1e-6)
    norm(x.requires_grad_()).sum().backward()
    torch.testing.assert_close(norm.weight.grad, unit.sum(0).to(dtype), rtol=2e-2, atol=1e-2)


def test_nemotrons_layer_norm_multiplies_with_one_more_than_its_weight() -> None:
    norm, x = LayerNorm(16, 1e-5, plus_one=True), torch.randn(4, 16)
    assert not norm.weight.any()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    unit = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), unit * (1.0 + norm.weight) + norm.bias)
    torch.testing.assert_close(norm.factor, 1.0 + norm.weight)


@pytest.mark.parametrize(
    ("family", "kind", "biased"),
    [("llama", RMSNorm, False), ("gpt2", torch.nn.LayerNorm, True), ("cohere", torch.nn.LayerNorm, False)],
)
def test_a_norm_is_of_the_kind_that_the_config_says(
    family: str, kind: type, biased: bool, make_config: Callable[..., ModelConfig]
) -> None:
    norm = norm_of_width(make_config(family, norm_eps=0.1), 6)
    assert isinstance(norm, kind)
    assert (norm.weight.shape, norm.eps) == ((6,), 0.1)
    assert (getattr(norm, "bias", None) is not None) == biased


def test_scoring_gives_what_training_gives() -> None:
    norm, x = RMSNorm(16, 1e-6), torch.randn(4, 16)
    with torch.no_grad():
        scored = norm(x)
    torch.testing.assert_close(norm(x), scored)


def test_bfloat16_stays_bfloat16() -> None:
    assert RMSNorm(8, 1e-6)(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_frozen_weight_passes_the_gradient_of_its_input_on() -> None:
    norm = RMSNorm(8, 1e-5)
    norm.weight.requires_grad_(False)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    x = torch.randn(3, 8, requires_grad=True)
    y = torch.nn.functional.rms_norm(x, (8,), norm.weight, 1e-5)
    expected = torch.autograd.grad(y.square().sum(), x)[0]
    norm(x).square().sum().backward()
    assert norm.weight.grad is None
    torch.testing.assert_close(x.grad, expected)
