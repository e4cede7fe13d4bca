"""Sensitivities against whole passes of models with one unit rounded, in double precision."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.model.transformer import Transformer
from llmkit.progress import Silent
from llmkit.quant.budget import allot
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grid import Grid
from llmkit.quant.moments import Moments
from llmkit.quant.plan import PlanUnit
from llmkit.quant.plan_gguf import gguf_plan
from llmkit.quant.rounding import RoundedMatrix, round_matrix
from llmkit.quant.sensitivity import Sensitivity, sensitivities, to_the_nearest
from tests.quant.small_models import experts, model
from tests.quant.test_trial import IDS, plain_divergence

GRIDS = [GGML_GRIDS[name] for name in ("Q2_K", "Q4_K", "Q8_0")]
FAMILIES = {
    "llama": {"num_hidden_layers": 2},
    "tied": {"num_hidden_layers": 2, "tie_word_embeddings": True},
    "experts": {"num_hidden_layers": 3, "model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()},
}


def plain(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
    """Every column alike, so that a test need not know what was seen."""
    return round_matrix(weight, grid, None)


def work(original: Transformer) -> list[tuple[PlanUnit, list[Grid]]]:
    plan = gguf_plan(original, "Q4_K_M")
    return [(unit, plan.grids_for(unit, GRIDS)) for unit in plan.open_units]


def with_one_unit_rounded(original: Transformer, row: Sensitivity) -> Transformer:
    changed = copy.deepcopy(original)
    for name in row.names:
        weight = changed.get_parameter(name).data
        parts = weight.unbind() if weight.dim() == 3 else (weight,)
        for part in parts:
            part.copy_(round_matrix(part, GGML_GRIDS[row.grid], None).values())
    return changed


@pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES)
def test_each_row_is_what_a_whole_pass_with_one_unit_rounded_gives(changes: dict[str, Any]) -> None:
    original = model(**changes)
    rows = list(sensitivities(original, work(original), IDS, rounder=plain))
    units = work(original)
    assert len(rows) == 3 * len(units)
    assert {row.name for row in rows} == {unit.name for unit, _ in units}
    kinds: set[str] = set()
    for row in rows:
        if row.grid != "Q4_K" or row.kind in kinds:
            continue
        kinds.add(row.kind)
        expected = plain_divergence(original, with_one_unit_rounded(original, row))
        assert row.kld == pytest.approx(expected, rel=2e-3), row.name
        assert (row.measured, row.bits, row.output_noise) == (True, 4.5, None)
    assert kinds == {unit.kind for unit, _ in units}


def test_inputs_are_seen_in_the_calibration_text_and_noise_is_of_outputs() -> None:
    original = model(num_hidden_layers=2)
    units = [(unit, grids) for unit, grids in work(original) if unit.layer == 1]
    calibration = torch.randint(96, (2, 16), generator=torch.Generator().manual_seed(2))
    name, grid = "model.layers.1.mlp.down_proj.weight", GGML_GRIDS["Q4_K"]
    kept: dict[tuple[str, str], tuple[Moments, RoundedMatrix]] = {}

    def rounder(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
        assert moments is not None
        kept[name, grid.name] = moments, to_the_nearest(name, weight, grid, moments)
        return kept[name, grid.name][1]

    found = sensitivities(original, units, IDS, calibration=calibration, rounder=rounder)
    rows = {(row.kind, row.grid): row for row in found}
    inputs: list[Tensor] = []
    down = original.get_submodule("model.layers.1.mlp.down_proj")
    with down.register_forward_hook(lambda module, args, out: inputs.append(args[0])), torch.no_grad():
        original(calibration)
    weight, x = original.get_parameter(name).detach(), inputs[0].flatten(0, 1)
    moments, rounded = kept[name, grid.name]
    torch.testing.assert_close(moments.squares, x.square().sum(0), rtol=1e-4, atol=1e-6)
    assert not torch.equal(rounded.codes, round_matrix(weight, grid, None).codes)
    change = rounded.values() - weight
    expected = float((x @ change.T).square().sum() / (x @ weight.T).square().sum())
    row = rows["down_proj", "Q4_K"]
    assert row.output_noise == pytest.approx(expected, rel=1e-4)
    assert row.noise == pytest.approx(float(change.square().sum() / weight.square().sum()), rel=1e-5)


def test_fewer_bits_lose_more_and_measuring_one_grid_tells_the_others_nearly() -> None:
    original = model(num_hidden_layers=2)
    units = work(original)
    every = {(row.name, row.grid): row for row in sensitivities(original, units, IDS)}
    one = {(row.name, row.grid): row for row in sensitivities(original, units, IDS, every_grid=False)}
    assert every.keys() == one.keys()
    for (name, grid), row in one.items():
        assert row.measured is (grid == "Q4_K")
        exact = every[name, grid]
        assert row.output_noise == exact.output_noise
        assert row.kld == exact.kld if row.measured else 0.4 < row.kld / exact.kld < 2.5
        assert every[name, "Q2_K"].kld > every[name, "Q4_K"].kld > every[name, "Q8_0"].kld > 0


def test_progress_hears_the_number_of_trials_and_reaches_the_end() -> None:
    class Heard(Silent):
        def __init__(self) -> None:
            self.notes: list[str] = []
            self.last = (0.0, 0.0)

        def note(self, message: str) -> None:
            self.notes.append(message)

        def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
            assert total is not None
            self.last = done, total

    heard, original = Heard(), model(num_hidden_layers=2)
    list(sensitivities(original, work(original), IDS, progress=heard))
    assert heard.notes[0].startswith("48 trials over 33 scored positions: about ")
    assert heard.last[0] == pytest.approx(heard.last[1])


def test_the_model_is_left_as_it_was_and_a_second_run_says_the_same() -> None:
    original = model(num_hidden_layers=2)
    before = copy.deepcopy(original.state_dict())
    first = list(sensitivities(original, work(original), IDS))
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    assert list(sensitivities(original, work(original), IDS)) == first


def test_a_budget_by_measured_losses_beats_the_mixture_at_its_own_size() -> None:
    original = model(num_hidden_layers=2)
    plan = gguf_plan(original, "Q4_K_M")
    grids = [GGML_GRIDS[name] for name in ("Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0")]
    losses: dict[str, dict[Grid, float]] = {}
    for row in sensitivities(original, [(unit, grids) for unit in plan.open_units], IDS, rounder=plain):
        losses.setdefault(row.name, {})[GGML_GRIDS[row.grid]] = row.kld
    choices = {unit.name: plan.choices(unit, losses[unit.name]) for unit in plan.open_units}
    found = allot(choices, plan.spare_for_bits(plan.bits_per_weight))
    budgeted = plan.with_grids({name: GGML_GRIDS[one.grid] for name, one in found.chosen.items()}, "budget")
    assert 0 <= plan.bits_per_weight - budgeted.bits_per_weight <= 0.02
    rounded = []
    for one in (plan, budgeted):
        changed = copy.deepcopy(original)
        for name, grid in one.grids.items():
            weight = changed.get_parameter(name).data
            weight.copy_(round_matrix(weight, grid, None).values())
        rounded.append(plain_divergence(original, changed))
    assert rounded[1] < 0.8 * rounded[0]
    assert rounded[1] == pytest.approx(found.loss, rel=0.5)  # losses of units nearly add up
