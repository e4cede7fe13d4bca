"""Layers as one product, and where they stay apart."""

import pytest
import torch
from torch import Tensor, nn

from llmkit.model import joined_linear as module
from llmkit.model.joined_linear import linear_layers
from llmkit.model.quantised.float8_linear import Float8Linear, Largest, float8_linear


@pytest.fixture
def joining(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU."""
    monkeypatch.setattr(module, "_pays", lambda x: True)


def _gradients(layers: list[nn.Linear], x: Tensor) -> list[Tensor]:
    for layer in layers:
        layer.zero_grad()
    x.grad = None
    loss = sum((y.sin() * (at + 1)).sum() for at, y in enumerate(linear_layers(x, *layers)))
    assert isinstance(loss, Tensor)
    loss.backward()
    return [loss.detach(), x.grad, *(one.grad for layer in layers for one in layer.parameters())]  # type: ignore[misc]


@pytest.mark.parametrize("bias", [False, True])
def test_one_product_gives_what_each_layer_gives_and_the_same_gradients(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(8, width, bias=bias) for width in (6, 2, 2)]
    x = torch.randn(3, 5, 8, requires_grad=True)
    apart = [one.clone() for one in _gradients(layers, x) if one is not None]
    monkeypatch.setattr(module, "_pays", lambda x: True)
    joined = [one.clone() for one in _gradients(layers, x) if one is not None]
    assert len(joined) == len(apart) == 2 + len(layers) * (1 + bias)
    for one, other in zip(joined, apart, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.usefixtures("joining")
def test_what_stands_for_a_layer_is_asked_itself() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    plain, other = nn.Linear(4, 3), Doubled(4, 3)
    x = torch.randn(2, 4)
    assert torch.equal(linear_layers(x, plain, other)[1], other(x))


@pytest.mark.usefixtures("joining")
def test_a_bias_of_some_layers_only_keeps_them_apart() -> None:
    layers = [nn.Linear(4, 3, bias=bias) for bias in (True, False)]
    x = torch.randn(2, 4)
    for found, layer in zip(linear_layers(x, *layers), layers, strict=True):
        assert torch.equal(found, layer(x))


@pytest.mark.usefixtures("joining")
def test_joined_products_in_float8_have_the_scales_of_whole_tensors_where_they_read_parts() -> None:
    torch.manual_seed(0)
    layers: list[nn.Linear] = [Float8Linear(16, 16, bias=False) for _ in range(2)]
    x = torch.randn(8, 16)
    narrow = linear_layers(x, *layers)
    threefold = Largest(of_input=lambda most: most * 3)
    for layer in layers:
        layer.largest = threefold  # type: ignore[assignment]
    wide = linear_layers(x, *layers)
    expected = float8_linear(x, [layer.weight for layer in layers], largest=threefold)
    assert torch.equal(torch.cat(wide, -1), expected)
    assert not torch.equal(torch.cat(narrow, -1), expected)
