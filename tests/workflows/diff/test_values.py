"""Figures of two tensors, against numpy on the whole arrays."""

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from llmkit.formats.model_folder import TensorInfo, read_header
from llmkit.workflows.diff import decode as diff_decode
from llmkit.workflows.diff.options import DiffConfig
from llmkit.workflows.diff.values import ValuesDiff, compare_values, same_bytes


def stored(folder: Path, name: str, tensor: torch.Tensor) -> TensorInfo:
    save_file({"t": tensor}, folder / name)
    return read_header(folder / name).tensors["t"]


def compared(folder: Path, a: torch.Tensor, b: torch.Tensor, **config: Any) -> ValuesDiff:
    return compare_values(stored(folder, "a", a), stored(folder, "b", b), DiffConfig(**config))


@pytest.mark.parametrize(
    "dtypes", [("float32", "float32"), ("float32", "bfloat16"), ("float16", "float8_e5m2")]
)
@pytest.mark.parametrize("block", [1 << 17, 11])
def test_figures_are_numpys_on_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtypes: tuple[str, str], block: int
) -> None:
    monkeypatch.setattr(diff_decode, "BLOCK_VALUES", block)
    random = torch.Generator().manual_seed(3)
    a = torch.randn(13, 17, generator=random).to(getattr(torch, dtypes[0]))
    b = (a.float() + 0.1 * torch.randn(13, 17, generator=random)).to(getattr(torch, dtypes[1]))
    found = compared(tmp_path, a, b)
    x, y = a.double().numpy(), b.double().numpy()
    gap = np.abs(x - y)
    assert found.values == 13 * 17 and found.differing == np.count_nonzero(gap)
    assert found.max_abs == gap.max() and found.at == list(np.unravel_index(gap.argmax(), gap.shape))
    assert found.mean_abs == pytest.approx(gap.mean(), rel=1e-12)
    assert found.relative_rms == pytest.approx(math.sqrt((gap**2).sum() / (x**2).sum()), rel=1e-12)
    assert found.nan_a == found.nan_b == found.infinite_a == found.infinite_b == 0


def test_a_tolerance_decides_what_differs_as_numpys_isclose_does(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=500).astype("f4")
    b = a + random.normal(size=500).astype("f4") * 1e-3
    for atol, rtol in ((1e-3, 0.0), (0.0, 1e-3), (5e-4, 1e-3), (1.0, 0.0)):
        found = compared(tmp_path, torch.tensor(a), torch.tensor(b), atol=atol, rtol=rtol)
        close = np.isclose(a.astype("f8"), b.astype("f8"), atol=atol, rtol=rtol)
        assert found.differing == np.count_nonzero(~close)
        assert found.max_abs == np.abs(a.astype("f8") - b.astype("f8")).max()  # whatever the tolerance


def test_a_planted_value_is_found_where_it_is(tmp_path: Path) -> None:
    a = torch.ones(4, 5, 6)
    b = a.clone()
    b[2, 3, 1] = 1.5
    found = compared(tmp_path, a, b)
    assert (found.differing, found.max_abs, found.at) == (1, 0.5, [2, 3, 1])
    assert found.mean_abs == 0.5 / 120 and found.relative_rms == math.sqrt(0.25 / 120)


def test_nan_and_infinity_are_counted_on_each_side_and_stay_out_of_the_figures(tmp_path: Path) -> None:
    nan, inf = math.nan, math.inf
    a = torch.tensor([nan, nan, inf, inf, 1.0, 2.0])
    b = torch.tensor([nan, 1.0, inf, -inf, inf, 2.5])
    for config in ({}, {"atol": 0.1}):
        found = compared(tmp_path, a, b, **config)
        assert (found.nan_a, found.nan_b, found.infinite_a, found.infinite_b) == (2, 1, 2, 3)
        assert found.differing == 4  # NaN is NaN and inf is inf; 2.0 against 2.5 differs
        assert (found.max_abs, found.mean_abs, found.at) == (0.5, 0.5, [5])
    nothing = compared(tmp_path, torch.tensor([nan]), torch.tensor([inf]))
    assert (nothing.differing, nothing.max_abs, nothing.mean_abs, nothing.relative_rms) == (
        1,
        None,
        None,
        None,
    )


def test_bit_for_bit_minus_zero_is_not_zero_and_within_a_tolerance_it_is(tmp_path: Path) -> None:
    a, b = torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0])
    exact = compared(tmp_path, a, b)
    assert (exact.differing, exact.max_abs, exact.at) == (1, 0.0, None)
    assert compared(tmp_path, a, b, atol=1e-30).differing == 0
    assert compared(tmp_path, a, b.bfloat16()).differing == 0  # bits of two dtypes cannot be compared


def test_the_same_bytes_are_the_same_even_where_they_are_nan(tmp_path: Path) -> None:
    a = torch.tensor([math.nan, 3.0])
    assert compared(tmp_path, a, a.clone()).differing == 0
    scalar = compared(tmp_path, torch.tensor(1.0), torch.tensor(2.0))
    assert (scalar.differing, scalar.at) == (1, [])
    empty = compared(tmp_path, torch.zeros(0, 3), torch.zeros(0, 3))
    assert (empty.values, empty.differing) == (0, 0)


def test_six_bit_floats_are_compared_as_bytes_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abd")
    a, b = (TensorInfo("t", "F6_E2M3", (4,), 3, tmp_path / name) for name in "ab")
    assert compare_values(a, a, DiffConfig()).differing == 0
    assert compare_values(a, b, DiffConfig()) == ValuesDiff(values=4, differing=None)


def test_same_bytes_looks_at_dtype_and_length_first(tmp_path: Path) -> None:
    a = stored(tmp_path, "a", torch.zeros(4))
    assert same_bytes(a, stored(tmp_path, "b", torch.zeros(2, 2)))
    assert not same_bytes(a, stored(tmp_path, "b", torch.zeros(4, dtype=torch.int32)))
    assert not same_bytes(a, stored(tmp_path, "b", torch.zeros(5)))


def test_memory_does_not_grow_with_the_tensor(tmp_path: Path) -> None:
    a = stored(tmp_path, "a", torch.zeros(8 << 20, dtype=torch.bfloat16))  # 64 MiB as float64
    b = stored(tmp_path, "b", torch.ones(8 << 20, dtype=torch.bfloat16))
    tracemalloc.start()
    found = compare_values(a, b, DiffConfig())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.differing == 8 << 20 and found.max_abs == 1.0
    assert peak < 16 << 20


def test_integers_of_64_bits_and_complex_numbers_have_their_figures(tmp_path: Path) -> None:
    whole = compared(tmp_path, torch.tensor([2**62, 7]), torch.tensor([2**62 + 1, 7]))
    assert (whole.differing, whole.max_abs, whole.at) == (1, 1.0, [0])
    plane = compared(tmp_path, torch.tensor([3 + 4j, 1j]), torch.tensor([0j, 1j]))
    assert (plane.differing, plane.max_abs, plane.mean_abs) == (1, 5.0, 2.5)
    assert plane.relative_rms == pytest.approx(math.sqrt(25 / 26))


def test_differences_beyond_float64_are_not_called_finite(tmp_path: Path) -> None:
    far = torch.tensor([1e308], dtype=torch.float64)
    found = compared(tmp_path, far, -far)
    assert (found.differing, found.max_abs, found.infinite_a) == (1, math.inf, 0)
