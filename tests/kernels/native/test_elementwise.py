"""Norm, rotation and gates against numpy in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels.forward_structs import Activation
from tests.kernels.native.calls import gate, rms_norm, rotate

pytestmark = pytest.mark.usefixtures("native")
WIDTHS = [1, 7, 16, 33, 1000, 2048]


def normal(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return random.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("cols", WIDTHS)
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_rms_norm_is_its_formula(
    cols: int, offset: float, random: np.random.Generator, same_on_any_threads: Callable[..., Any]
) -> None:
    x, weight = normal(random, 20, cols), normal(random, cols)
    wide = x.astype("f8")
    expected = (
        wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * (np.float32(offset) + weight).astype("f8")
    )
    found = same_on_any_threads(lambda: rms_norm(x, weight, epsilon=1e-5, offset=offset))
    assert np.allclose(found, expected, rtol=(cols / 16 + 8) * 2.0**-24, atol=1e-30)


def test_rms_norm_without_weight_has_ones(random: np.random.Generator) -> None:
    x = normal(random, 3, 50)
    expected = rms_norm(x, np.ones(50, np.float32), epsilon=1e-6)
    assert np.array_equal(rms_norm(x, None, epsilon=1e-6), expected)


@pytest.mark.parametrize(
    ("heads", "head_dim", "rotary_dim"), [(1, 2, 2), (3, 64, 64), (2, 80, 20), (4, 96, 54)]
)
def test_rotation_turns_the_halves_and_leaves_the_rest(
    heads: int,
    head_dim: int,
    rotary_dim: int,
    random: np.random.Generator,
    same_on_any_threads: Callable[..., Any],
) -> None:
    half = rotary_dim // 2
    angles = np.outer(np.arange(50), 10_000.0 ** (-np.arange(half) / half))
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    x, positions = normal(random, 9, heads * head_dim), random.integers(0, 50, 9).astype(np.int32)

    def turned() -> NDArray[np.float32]:
        copy = x.copy()
        rotate(copy, cosine, sine, positions, head_dim=head_dim)
        return copy

    found = same_on_any_threads(turned).reshape(9, heads, head_dim)
    before = x.reshape(9, heads, head_dim).astype("f8")
    pairs = (before[..., :half] + 1j * before[..., half:rotary_dim]) * np.exp(1j * angles[positions])[:, None]
    assert np.allclose(found[..., :half], pairs.real, rtol=0, atol=1e-6)
    assert np.allclose(found[..., half:rotary_dim], pairs.imag, rtol=0, atol=1e-6)
    assert np.array_equal(found[..., rotary_dim:], x.reshape(found.shape)[..., rotary_dim:])


@pytest.mark.parametrize("cols", WIDTHS)
def test_gates_are_torch_s_activations(
    cols: int, random: np.random.Generator, same_on_any_threads: Callable[..., Any]
) -> None:
    import torch

    gates, up = normal(random, 10, cols) * 8, normal(random, 10, cols)
    wide = torch.from_numpy(gates).double()
    expected = {
        Activation.SILU: torch.nn.functional.silu(wide),
        Activation.GELU_TANH: torch.nn.functional.gelu(wide, approximate="tanh"),
        Activation.GELU: torch.nn.functional.gelu(wide),
        Activation.RELU: wide.relu(),
    }
    for activation, value in expected.items():
        found = same_on_any_threads(lambda kind=activation: gate(gates, up, kind))
        assert (np.abs(found - value.numpy() * up) <= 4e-7 * np.abs(gates * up)).all()
    squared = gate(gates, up, Activation.RELU_SQUARED)
    assert (np.abs(squared - wide.relu().square().numpy() * up) <= 4e-7 * np.abs(gates**2 * up)).all()
    logistic = gate(gates, up, Activation.LOGISTIC)
    assert (np.abs(logistic - wide.sigmoid().numpy() * up) <= 4e-7 * np.abs(up)).all()


def test_gates_at_the_ends_of_the_range_and_nan() -> None:
    x = np.array([[-1e30, -200, -88, 0, 88, 200, 1e18, np.nan]], np.float32)
    for activation in (Activation.SILU, Activation.GELU_TANH, Activation.GELU, Activation.RELU):
        found = gate(x, np.ones_like(x), activation)[0]
        assert np.abs(found[:4]).max() < 1e-5
        assert np.array_equal(found[4:7], x[0, 4:7])
        assert np.isnan(found[7])


def test_gate_and_up_may_be_halves_of_one_product(random: np.random.Generator) -> None:
    both = normal(random, 5, 60)
    expected = gate(both[:, :30].copy(), both[:, 30:].copy(), Activation.SILU)
    assert np.array_equal(gate(both[:, :30], both[:, 30:], Activation.SILU), expected)
    gate(both[:, :30], both[:, 30:], Activation.SILU, out=both[:, :30])
    assert np.array_equal(both[:, :30], expected)
