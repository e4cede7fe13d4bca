import pytest
import torch

from llmkit.errors import DataError
from llmkit.quant import rounding
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grids import grid_named
from llmkit.quant.moments import Moments
from llmkit.quant.rounding import nearest, round_matrix

Q4 = GGML_GRIDS["Q4_0"]


def moments_of(inputs: torch.Tensor) -> Moments:
    moments = Moments.of_width(inputs.shape[1])
    moments.add(inputs)
    return moments


def correlated(rows: int, columns: int) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(rows, columns // 4) @ torch.randn(columns // 4, columns) + 0.1 * torch.randn(
        rows, columns
    )


def test_noise_is_what_rounding_added_to_weights_and_to_outputs() -> None:
    inputs, weight = correlated(200, 64), torch.randn(8, 64)
    rounded = round_matrix(weight, Q4, moments_of(inputs))
    change = rounded.values() - weight
    assert rounded.noise == pytest.approx(float(change.square().sum() / weight.square().sum()), rel=1e-5)
    outputs = (inputs @ change.T).square().sum() / (inputs @ weight.T).square().sum()
    assert rounded.output_noise == pytest.approx(float(outputs), rel=1e-3)


def test_feedback_moves_outputs_less_than_rounding_to_the_nearest() -> None:
    inputs, weight = correlated(200, 64), torch.randn(8, 64)
    nearest = round_matrix(weight, Q4, moments_of(inputs), feedback=False)
    fed = round_matrix(weight, Q4, moments_of(inputs))
    assert nearest.output_noise is not None and fed.output_noise is not None
    assert fed.output_noise < 0.6 * nearest.output_noise


@pytest.mark.parametrize("name", ["Q4_K", "int4-g32-asym"])
@pytest.mark.parametrize("feedback", [True, False])
def test_a_large_matrix_is_rounded_in_parts_to_the_same_codes(
    name: str, feedback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, seen = torch.randn(1100, 256), moments_of(correlated(600, 256))
    whole = round_matrix(weight, grid_named(name), seen, feedback=feedback)
    monkeypatch.setattr(rounding, "_AT_ONCE", 256 * 600)
    parts = round_matrix(weight, grid_named(name), seen, feedback=feedback)
    assert torch.equal(parts.codes, whole.codes) and torch.equal(parts.values(), whole.values())
    for key, one in whole.fitted.stored.items():
        assert torch.equal(parts.fitted.stored[key], one)
    assert parts.noise == pytest.approx(whole.noise, rel=1e-9)
    assert parts.output_noise == pytest.approx(whole.output_noise, rel=1e-9)


@pytest.mark.parametrize("seen", [None, Moments.of_width(64), moments_of(torch.zeros(4, 64))])
def test_without_anything_seen_every_column_counts_alike(seen: Moments | None) -> None:
    weight = torch.randn(4, 64)
    rounded, plain = round_matrix(weight, Q4, seen), round_matrix(weight, Q4, None)
    assert torch.equal(rounded.codes, plain.codes)
    assert rounded.output_noise is None


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "Q4_K"])
@pytest.mark.parametrize("weighed", [False, True])
def test_fitting_and_rounding_in_one_go_gives_what_each_gives(name: str, weighed: bool) -> None:
    weight, grid = torch.randn(20, 256), GGML_GRIDS[name]
    weight[3] = 0
    importance = torch.rand(256) if weighed else None
    (fitted, codes), apart = nearest(grid, weight, importance), grid.fit(weight, importance)
    assert fitted.stored.keys() == apart.stored.keys()
    assert all(torch.equal(apart.stored[key], one) for key, one in fitted.stored.items())
    assert torch.equal(fitted.lattice.step, apart.lattice.step)
    others = codes != apart.lattice.round(weight)
    assert others.float().mean() < 1e-3  # halfway between two values
    with pytest.raises(DataError, match="beyond what"):
        nearest(grid, weight * 1e12, importance)


def test_a_weight_that_is_no_number_is_refused() -> None:
    weight = torch.randn(4, 64)
    weight[1, 2] = float("nan")
    with pytest.raises(DataError, match="not a finite number"):
        round_matrix(weight, Q4, None)


def test_inputs_that_are_no_numbers_are_refused() -> None:
    inputs = torch.randn(4, 64)
    inputs[0, 0] = float("inf")
    with pytest.raises(DataError, match="not finite"):
        round_matrix(torch.randn(4, 64), Q4, moments_of(inputs))
