"""Products in float8: to the number what their codes give, near float32, and differentiable as such."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from llmkit.errors import ConfigError
from llmkit.model.presets import preset
from llmkit.model.quantised.float8_linear import (
    BACKWARD,
    FORWARD,
    Float8Linear,
    Largest,
    encode,
    float8_linear,
    use_float8,
)
from llmkit.model.transformer import Transformer


def _pair(n: int = 48, wide: int = 64, out: int = 32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, wide, generator=draw).requires_grad_()
    return x, torch.randn(out, wide, generator=draw).mul_(0.02).requires_grad_()


def _rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    codes, scale = encode(x, dtype)
    return codes.float() * scale


@pytest.mark.parametrize("n", [48, 7])
def test_a_product_and_its_gradients_are_those_of_the_rounded_numbers(n: int) -> None:
    x, weight = _pair(n)
    y = float8_linear(x, [weight])
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)) * 1e-6
    y.backward(grad)
    rounded_x, rounded_w, rounded_g = (
        _rounded(x, FORWARD),
        _rounded(weight, FORWARD),
        _rounded(grad, BACKWARD),
    )
    torch.testing.assert_close(y, rounded_x @ rounded_w.T, rtol=1e-5, atol=1e-6)
    assert x.grad is not None and weight.grad is not None
    torch.testing.assert_close(x.grad, rounded_g @ rounded_w, rtol=1e-5, atol=1e-11)
    torch.testing.assert_close(weight.grad, rounded_g.T @ rounded_x, rtol=1e-5, atol=1e-11)


def test_codes_are_within_a_sixteenth_of_their_numbers_and_fill_the_grid() -> None:
    x = torch.rand(4000, generator=torch.Generator().manual_seed(0)) + 0.02
    codes, scale = encode(x, FORWARD)
    assert codes.float().max() == 448
    assert ((codes.float() * scale - x).abs() / x).max() <= 1 / 16
    codes, scale = encode(x, BACKWARD)
    assert codes.float().max() == 57344
    assert ((codes.float() * scale - x).abs() / x).max() <= 1 / 8


def test_zeros_stay_zeros_and_a_number_that_is_not_finite_is_not_hidden() -> None:
    x, weight = _pair()
    y = float8_linear(torch.zeros_like(x), [weight])
    assert not y.any() and not y.isnan().any()
    broken = x.detach().clone()
    broken[3, 4] = torch.inf
    assert float8_linear(broken, [weight]).isnan().all()


def test_under_autocast_what_comes_out_is_bfloat16_and_gradients_are_as_the_weights_are() -> None:
    x, weight = _pair()
    bias = torch.ones(32, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = float8_linear(x.view(2, 24, 64), [weight], bias)
    assert y.dtype == torch.bfloat16 and y.shape == (2, 24, 32)
    y.sum().backward()
    assert weight.grad is not None and bias.grad is not None and x.grad is not None
    assert weight.grad.dtype == x.grad.dtype == torch.float32
    assert (bias.grad == 48).all()


def test_weights_one_below_the_other_are_one_product_with_one_scale() -> None:
    x, weight = _pair(out=48)
    grad = torch.randn(48, 48, generator=torch.Generator().manual_seed(1))
    parts = [one.detach().clone().requires_grad_() for one in weight.split([16, 32])]
    whole, joined = float8_linear(x, [weight]), float8_linear(x, parts)
    assert torch.equal(whole, joined)
    (expected,) = torch.autograd.grad(whole, weight, grad)
    assert torch.equal(torch.cat(torch.autograd.grad(joined, parts, grad)), expected)


def test_only_one_byte_a_number_of_x_is_kept_for_the_backward_pass() -> None:
    x, weight = _pair()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        float8_linear(x, [weight])
    assert sorted(one.nbytes for one in kept) == [4, 4, x.numel(), weight.nbytes]  # and two scales


def test_the_largest_numbers_of_parts_are_asked_for_once_each_and_make_the_scales() -> None:
    """Elsewhere there is 1000 in the input, 2000 in the weights and 3000 in the gradient."""
    asked: list[str] = []

    def other(name: str, size: float) -> Callable[[Tensor], Tensor]:
        return lambda most: asked.append(name) or most.clamp(min=size)  # type: ignore[func-returns-value]

    x, weight = _pair()
    largest = Largest(other("input", 1000), other("weight", 2000), other("gradient", 3000))
    y = float8_linear(x, [weight], largest=largest)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(grad)
    assert asked == ["input", "weight", "gradient"]

    def coded(one: Tensor, size: float, dtype: torch.dtype) -> Tensor:
        scale = size / torch.finfo(dtype).max
        return (one.detach() / scale).to(dtype).float() * scale

    rounded_x, rounded_w = coded(x, 1000, FORWARD), coded(weight, 2000, FORWARD)
    rounded_g = coded(grad, 3000, BACKWARD)
    assert x.grad is not None and weight.grad is not None
    torch.testing.assert_close(y, rounded_x @ rounded_w.T, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(x.grad, rounded_g @ rounded_w, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(weight.grad, rounded_g.T @ rounded_x, rtol=1e-5, atol=1e-4)


def test_matrices_whose_sides_fit_are_changed_and_no_name_and_no_weight_is() -> None:
    config = preset("tiny", hidden_size=64, intermediate_size=100, num_hidden_layers=2, vocab_size=96)
    model = Transformer(config)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    use_float8(model.model.layers)
    changed = [one for one in model.modules() if type(one) is Float8Linear]
    assert len(changed) == 2 * 4  # q, k, v, o: gate, up and down have a side of 100
    assert type(model.lm_head) is not Float8Linear
    assert type(model.model.layers[0].mlp.down_proj) is nn.Linear
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)


def test_a_model_without_a_matrix_that_fits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--fp8: no matrix of the layers"):
        use_float8(nn.ModuleList([nn.Linear(24, 32), nn.Linear(32, 1)]))
