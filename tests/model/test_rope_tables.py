"""Rotary positions in numpy: torch's frequencies but for a step of float32, and exact angles."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from llmkit.model import rope
from llmkit.model.rope_tables import NUMPY, RopeTables, inverse_frequencies

from .rope_cases import SCALINGS, positions_of, scaling_fields

LENGTHS = (0, 300, 4096, 4097, 50_000)
WIDTHS = (128, 64, 40, 16, 12)


def _steps(found: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.int32]:
    """How many float32 numbers lie between two positive ones, and one."""
    return np.abs(found.view(np.int32) - other.view(np.int32))


@pytest.mark.parametrize("kind", SCALINGS)
def test_frequencies_are_torchs_but_for_a_step(kind: str) -> None:
    off = []
    for width in WIDTHS:
        config = positions_of(head_dim=width, rotary_dim=width, **scaling_fields(kind, width))
        for length in LENGTHS:
            found = inverse_frequencies(config, length)
            theirs = inverse_frequencies(config, length, power=rope.TORCH.power)
            assert found.dtype == np.float32
            off.append(_steps(found, theirs))
    steps = np.concatenate(off)
    assert steps.max() <= 2  # one of the power's, which is up to two of 1 over it
    assert (steps > 0).mean() < 0.05 and (steps > 1).mean() < 0.005


def test_powers_are_rounded_once() -> None:
    exponents = np.arange(0, 64, dtype=np.float32) / 64
    for base in (1e4, 5e5, 150_000.0, 12_345.678):
        exact = [float(np.float32(base)) ** float(one) for one in exponents]
        assert NUMPY.power(base, exponents).tolist() == [float(np.float32(one)) for one in exact]


@pytest.mark.parametrize("kind", SCALINGS)
def test_tables_are_torchs_at_short_positions(kind: str) -> None:
    cpu = torch.device("cpu")
    for width in WIDTHS:
        config = positions_of(head_dim=width, rotary_dim=width, **scaling_fields(kind, width))
        tables, theirs = RopeTables(config), rope.Rope(config)
        for end in (1, 300, 4096, 4097, 5000, 200):
            for found, other in zip(tables.table(end), theirs.table(end, cpu), strict=True):
                assert found.shape == tuple(other.shape) and found.dtype == np.float32
                np.testing.assert_allclose(found[:10], other[:10].numpy(), rtol=0, atol=1e-6)
        assert tables.depends_on_length == theirs.depends_on_length


@pytest.mark.parametrize("kind", SCALINGS)
def test_tables_turn_each_position_by_its_frequencies(kind: str) -> None:
    config = positions_of(head_dim=64, rotary_dim=64, **scaling_fields(kind, 64))
    tables = RopeTables(config)
    factor = tables.table(5)[0][0, 0]  # cos 0
    for end in (1, 40, 5000, 100_000, 100_001, 200):
        at = np.array([0, end // 2, end - 1])
        angle = np.outer(at.astype(np.float32), inverse_frequencies(config, end)).astype(np.float64)
        cos, sin = tables.table(end)
        np.testing.assert_allclose(cos[at], factor * np.cos(angle), rtol=0, atol=3e-7)
        np.testing.assert_allclose(sin[at], factor * np.sin(angle), rtol=0, atol=3e-7)


def test_sliding_layers_have_their_own_base_without_scaling_or_its_factor() -> None:
    yarn: dict[str, Any] = SCALINGS["yarn with its factor"]
    two = RopeTables(positions_of(rotary_dim=8, **yarn, sliding_rope_theta=5e3))
    plain = RopeTables(positions_of(rotary_dim=8, rope_theta=5e3))
    one = RopeTables(positions_of(rotary_dim=8, **yarn))
    np.testing.assert_array_equal(two.table(50, sliding=True), plain.table(50))
    np.testing.assert_array_equal(two.table(50), one.table(50))
    np.testing.assert_array_equal(one.table(50, sliding=True), one.table(50))
    assert one.table(50)[0][0, 0] == 1.25


def test_a_table_grows_for_a_longer_text_and_keeps_what_it_had(make_config: Callable[..., Any]) -> None:
    tables = RopeTables(make_config())
    short = tables.table(10)[0].copy()
    long = tables.table(1000)
    assert len(long[0]) >= 1000
    np.testing.assert_array_equal(long[0][: len(short)], short)
    assert tables.table(10)[0] is long[0]
    assert long[1][999, 0].item() == pytest.approx(math.sin(999), abs=1e-6)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_a_long_text_leaves_the_table_of_short_ones_as_it_was(kind: str) -> None:
    tables = RopeTables(positions_of(head_dim=16, rotary_dim=16, **scaling_fields(kind, 16)))
    short = tables.table(200)
    first, second = tables.table(5000)[0], tables.table(5001)[0]
    assert tables.table(200)[0] is short[0]
    assert tables.table(5001)[0] is second
    assert (first is second) == (kind == "longrope")  # dynamic has a base for each length
    assert not np.array_equal(second[1], short[0][1])
