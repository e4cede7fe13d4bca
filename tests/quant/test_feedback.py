"""Error feedback against a plain GPTQ in float64, and against rounding."""

import numpy as np
import pytest
import torch

from llmkit.errors import DataError
from llmkit.quant import feedback
from llmkit.quant.feedback import caught_up, feedback_codes, lost
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.lattice import Lattice


def share(*of: torch.Tensor) -> float:
    """Of a matrix's output that rounding loses."""
    change, whole = lost(*of).tolist()
    return float(change / whole)


def inputs(columns: int, texts: int = 4096) -> torch.Tensor:
    """Second moments of correlated inputs."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(columns, columns, generator=generator) / columns**0.5
    x = torch.randn(texts, columns, generator=generator) * torch.linspace(2, 0.05, columns) @ mixing
    return x.T @ x


def plain_gptq(weight: np.ndarray, lattice: Lattice, moments: np.ndarray, damping: float) -> np.ndarray:
    """2210.17323, figure 2 with act-order: one column at a time, in float64."""
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments[np.ix_(order, order)] + damping * np.diag(moments).mean() * np.eye(len(order))
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, result = weight[:, order].copy(), np.empty_like(weight)
    step, table = lattice.step.double().numpy(), lattice.table.double().numpy()
    base = np.zeros_like(step) if lattice.base is None else lattice.base.double().numpy()
    for i, column in enumerate(order):
        group = column // lattice.group
        values = base[:, group, None] + step[:, group, None] * table
        chosen = np.abs(values - left[:, i, None]).argmin(1)
        result[:, column] = values[np.arange(len(weight)), chosen]
        error = (left[:, i] - result[:, column]) / upper[i, i]
        left[:, i + 1 :] -= error[:, None] * upper[i, i + 1 :]
    return result


@pytest.fixture(params=["native", "torch"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the native library where it is, and in torch."""
    if request.param == "torch":
        monkeypatch.setattr(feedback, "natively", lambda *tensors: False)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", ["Q4_K", "IQ4_XS", "Q3_K"])
def test_codes_lose_what_a_plain_gptq_in_float64_loses(name: str) -> None:
    weight, moments = torch.randn(24, 256, generator=torch.Generator().manual_seed(1)), inputs(256)
    lattice = GGML_GRIDS[name].fit(weight, moments.diagonal()).lattice
    ours = lattice.values(feedback_codes(weight, lattice, moments))
    plain = plain_gptq(weight.double().numpy(), lattice, moments.double().numpy(), 0.01)
    assert (np.abs(ours.numpy() - plain) < 1e-5).mean() > 0.99  # float32 turns the rare tie the other way
    slow = share(weight, torch.from_numpy(plain).float(), moments)
    assert share(weight, ours, moments) == pytest.approx(slow, rel=5e-3)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", ["Q8_0", "Q4_K", "Q3_K"])
def test_feedback_loses_much_less_than_rounding(name: str) -> None:
    weight, moments = torch.randn(32, 512, generator=torch.Generator().manual_seed(1)), inputs(512)
    lattice = GGML_GRIDS[name].fit(weight, moments.diagonal()).lattice
    rounded = share(weight, lattice.values(lattice.round(weight)), moments)
    assert share(weight, lattice.values(feedback_codes(weight, lattice, moments)), moments) < 0.6 * rounded


@pytest.mark.usefixtures("either")
def test_inputs_without_correlation_give_rounding() -> None:
    weight = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    lattice = GGML_GRIDS["Q4_0"].fit(weight).lattice
    moments = torch.diag(torch.rand(64, generator=torch.Generator().manual_seed(2)) + 0.1)
    assert torch.equal(feedback_codes(weight, lattice, moments), lattice.round(weight))


@pytest.mark.usefixtures("either")
def test_rows_do_not_depend_on_each_other() -> None:
    weight, moments = torch.randn(20, 256, generator=torch.Generator().manual_seed(1)), inputs(256)
    lattice = GGML_GRIDS["Q5_0"].fit(weight).lattice
    alone = Lattice(lattice.step[7:8], lattice.table, None, lattice.group)
    together = feedback_codes(weight, lattice, moments)[7:8]
    same = feedback_codes(weight[7:8], alone, moments) == together
    assert same.float().mean() > 0.98  # a product of other shape may sum in another order


def test_moments_of_one_text_are_damped_until_they_can_be_inverted() -> None:
    weight, x = torch.randn(4, 64), torch.randn(1, 64)
    lattice = GGML_GRIDS["Q4_0"].fit(weight).lattice
    assert feedback_codes(weight, lattice, x.T @ x, damping=1e-9).shape == (4, 64)
    nothing = feedback_codes(weight, lattice, torch.zeros(64, 64))
    assert torch.equal(nothing, lattice.round(weight))


def test_moments_that_are_not_finite_are_refused() -> None:
    weight = torch.randn(4, 64)
    with pytest.raises(DataError, match="the inputs of a matrix are not finite"):
        feedback_codes(weight, GGML_GRIDS["Q4_0"].fit(weight).lattice, torch.full((64, 64), torch.nan))


def test_lost_is_the_share_of_outputs_that_changed() -> None:
    weight, x = torch.randn(3, 8), torch.randn(50, 8)
    rounded = weight + 0.1 * torch.randn(3, 8)
    expected = float(((x @ (rounded - weight).T) ** 2).sum() / ((x @ weight.T) ** 2).sum())
    assert share(weight, rounded, x.T @ x) == pytest.approx(expected, rel=1e-4)


def test_weights_catch_up_with_what_their_inputs_have_lost() -> None:
    generator = torch.Generator().manual_seed(4)
    mixing = torch.randn(64, 64, generator=generator) / 8
    original = torch.randn(2, 2000, 64, generator=generator) @ mixing
    rounded = 0.8 * original + 0.1 * torch.randn(2, 2000, 64, generator=generator)
    weight = torch.randn(8, 64, generator=generator)
    x, y = rounded[0], original[0]
    caught = caught_up(weight, x.T @ x, (y - x).T @ x)
    off = [(rounded[1] @ one.T - original[1] @ weight.T).square().mean() for one in (weight, caught)]
    assert off[1] < 0.5 * off[0]
    assert caught_up(weight, torch.zeros(64, 64), torch.zeros(64, 64)) is weight
