"""Rounded matrices gone over again, against a plain loop in float64 and against feedback of errors alone."""

import numpy as np
import pytest
import torch

from llmkit.formats.gguf.blocks import dequantise
from llmkit.quant import descent, feedback
from llmkit.quant.descent import SharedNumbers, descended
from llmkit.quant.feedback import feedback_codes, lost
from llmkit.quant.ggml_bytes import ggml_bytes
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grid import Fitted
from llmkit.quant.grids import grid_named
from llmkit.quant.workers import Workers

COLUMNS = 512
GENERATOR = torch.Generator().manual_seed(0)
MIXING = torch.randn(COLUMNS, COLUMNS, generator=GENERATOR) / COLUMNS**0.5


def inputs(texts: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(texts, COLUMNS, generator=generator) * torch.linspace(2, 0.05, COLUMNS) @ MIXING
    return x.T @ x


def share_lost(*of: torch.Tensor) -> float:
    """Of a matrix's output that rounding loses."""
    change, whole = lost(*of).tolist()
    return float(change / whole)


def weights(rows: int = 40) -> torch.Tensor:
    return torch.randn(rows, COLUMNS, generator=torch.Generator().manual_seed(1))


def fed(name: str, moments: torch.Tensor) -> tuple[Fitted, torch.Tensor]:
    weight = weights()
    fitted = grid_named(name).fit(weight, moments.diagonal())
    return fitted, feedback_codes(weight, fitted.lattice, moments)


@pytest.fixture(params=["native", "torch"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the native library where it is, and in torch."""
    if request.param == "torch":
        monkeypatch.setattr(feedback, "natively", lambda *tensors: False)


@pytest.mark.parametrize(
    ("name", "share"),
    [("Q2_K", 0.86), ("Q3_K", 0.88), ("Q4_K", 0.94), ("IQ4_XS", 0.93), ("Q6_K", 0.93), ("int4-g64", 0.95)],
)
def test_outputs_of_text_not_seen_move_less_than_after_feedback_alone(name: str, share: float) -> None:
    moments, weight = inputs(8192, 2), weights()
    fitted, codes = fed(name, moments)
    moved, new = descended(grid_named(name), weight, fitted, codes, moments)
    before, after = (
        share_lost(weight, one.lattice.values(its), inputs(4096, 3))
        for one, its in ((fitted, codes), (moved, new))
    )
    assert after < share * before


@pytest.mark.parametrize("name", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"])
def test_a_file_holds_what_was_moved(name: str) -> None:
    moments, weight = inputs(2048, 2), weights()
    moved, new = descended(GGML_GRIDS[name], weight, *fed(name, moments), moments)
    raw = ggml_bytes(name, moved.stored, new)
    assert np.array_equal(dequantise(raw.reshape(-1), name, weight.shape), moved.lattice.values(new).numpy())


@pytest.mark.usefixtures("either")
def test_a_code_moves_to_where_the_outputs_lose_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "SWEEPS", 1)
    moments = inputs(2048, 2)[:160, :160].contiguous()
    weight = weights(5)[:, :160].contiguous()
    grid = grid_named("int3-g32")
    fitted = grid.fit(weight)
    codes = fitted.lattice.round(weight)
    _, new = descended(grid, weight, fitted, codes, moments)
    h = moments.double().numpy() + 0.01 * moments.diagonal().double().mean().item() * np.eye(160)
    step, table = fitted.lattice.step.double().numpy(), fitted.lattice.table.double().numpy()
    left, plain = (weight - fitted.lattice.values(codes)).double().numpy(), codes.numpy().copy()
    for column in range(160):
        values = step[:, column // 32, None] * table
        tried = weight[:, column, None].double().numpy() - values
        others = left @ h[:, column] - left[:, column] * h[column, column]
        plain[:, column] = (tried**2 * h[column, column] + 2 * tried * others[:, None]).argmin(1)
        left[:, column] = tried[np.arange(5), plain[:, column]]
    assert (plain == new.numpy()).mean() > 0.99
    assert (plain != codes.numpy()).mean() > 0.05


def test_each_number_that_moves_makes_outputs_lose_less() -> None:
    moments, weight, grid = inputs(2048, 2), weights(), GGML_GRIDS["Q4_K"]
    fitted, codes = fed("Q4_K", moments)
    numbers = SharedNumbers.of(grid, fitted).rows(slice(0, 40))
    left = weight - fitted.lattice.values(codes)
    for block in range(2):
        columns = slice(block * 256, block * 256 + 256)
        added = numbers.move(
            block, codes[:, columns], (left @ moments)[:, columns], moments[columns, columns]
        )
        worse = torch.zeros_like(left)
        worse[:, columns] = added
        now = left - worse
        old, new = (((one @ moments) * one).sum(1) for one in (left, now))
        assert (new <= old * 1.001).all()
        assert (new < 0.999 * old).float().mean() > 0.5
        left = now
    assert torch.allclose(weight - numbers.fitted().lattice.values(codes), left, atol=1e-5)


def test_any_number_of_workers_moves_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "_ROWS", 16)
    moments, weight = inputs(2048, 2), weights()
    start = fed("Q3_K", moments)
    found = []
    for count in (1, 3):
        with Workers(count) as workers:
            found.append(descended(GGML_GRIDS["Q3_K"], weight, *start, moments, workers=workers))
    assert torch.equal(found[0][1], found[1][1])
    assert all(torch.equal(one, found[1][0].stored[key]) for key, one in found[0][0].stored.items())


def test_where_nothing_was_read_nothing_moves() -> None:
    moments = inputs(2048, 2)
    fitted, codes = fed("Q3_K", moments)
    moved, new = descended(GGML_GRIDS["Q3_K"], weights(), fitted, codes, torch.zeros_like(moments))
    assert moved is fitted
    assert torch.equal(new, codes)


def test_superblocks_of_zeros_stay_zeros() -> None:
    moments, weight, grid = inputs(2048, 2), weights(), GGML_GRIDS["Q4_K"]
    weight[3] = 0
    fitted = grid.fit(weight, moments.diagonal())
    moved, new = descended(grid, weight, fitted, fitted.lattice.round(weight), moments)
    assert (moved.lattice.values(new)[3] == 0).all()
