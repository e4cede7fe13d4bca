"""Scales by activations: they help where inputs have outliers, and do no harm where they have none."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.model.transformer import Transformer
from llmkit.quant.folds import folds_of
from llmkit.quant.grid import Grid
from llmkit.quant.grids import grid_named
from llmkit.quant.model import Quantiser
from llmkit.quant.moments import Moments
from llmkit.quant.rounding import RoundedMatrix, Rounder, round_matrix
from llmkit.quant.scaling import unscaled
from tests.quant.small_models import experts, model

IDS = torch.randint(96, (16, 32), generator=torch.Generator().manual_seed(1))
SCORED = torch.randint(96, (4, 32), generator=torch.Generator().manual_seed(2))
EXPERTS: dict[str, Any] = {
    "num_hidden_layers": 3,
    "model_type": "qwen3_moe",
    "qk_norm": "head",
    "experts": experts(),
}


def planted(**changes: Any) -> Transformer:
    """A model in which a few channels are twelve times as large as the others, and the weights they meet
    so much smaller."""
    made = model(**({"num_hidden_layers": 2} | changes))
    for layer in made.model.layers:
        for fold in folds_of(layer, made.config):
            if fold.norm is not None:
                scale = torch.ones(made.config.hidden_size)
                scale[::40] /= 12
                fold.apply(layer, scale)
    return made


def grids_of(made: Transformer, grid: Grid) -> dict[str, Grid]:
    return {
        name: grid
        for name, value in made.named_parameters()
        if value.dim() > 1 and name.startswith("model.layers") and not name.endswith("mlp.gate.weight")
    }


def nearest(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
    return round_matrix(weight, grid, moments, feedback=False)


def feedback(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
    return round_matrix(weight, grid, moments)


def moved(made: Transformer, grid: Grid, rounder: Rounder, scale_dtype: torch.dtype | None) -> float:
    """Mean KL divergence from the original."""
    used = copy.deepcopy(made)
    quantiser = Quantiser(
        used, grids_of(made, grid), calibration=IDS, scored=SCORED, rounder=rounder, scale_dtype=scale_dtype
    )
    for _ in quantiser.run():
        pass
    assert quantiser.rounded is not None
    with torch.inference_mode():
        before = made(SCORED).log_softmax(-1)
        after = torch.cat([used.logits(states) for _, states in quantiser.rounded.last()]).log_softmax(-1)
        return float((before.exp() * (before - after)).sum(-1).mean())


@pytest.mark.parametrize("rounder", [nearest, feedback])
@pytest.mark.parametrize("grid", ["int4-g128", "Q4_0"])
def test_a_model_with_outliers_moves_less_when_columns_are_scaled(rounder: Rounder, grid: str) -> None:
    made = planted()
    plain, scaled = (moved(made, grid_named(grid), rounder, dtype) for dtype in (None, torch.float32))
    assert scaled < (0.8 if rounder is nearest else 1.0) * plain


def test_experts_with_outliers_move_less_and_their_router_is_scaled_by_powers_of_two() -> None:
    made, grid = planted(**EXPERTS), grid_named("int4-g128")
    plain, scaled = (moved(made, grid, nearest, dtype) for dtype in (None, torch.bfloat16))
    assert scaled < plain
    used = copy.deepcopy(made)
    changed: dict[str, Tensor] = {}
    for part in Quantiser(used, grids_of(made, grid), calibration=IDS, scale_dtype=torch.bfloat16).run():
        changed |= part.plain
    routers = [name for name in changed if name.endswith("mlp.gate.weight")]
    assert routers
    for name in routers:
        ratio = (changed[name] / made.get_parameter(name)).log2()
        assert torch.allclose(ratio, ratio.round(), atol=1e-5) and ratio.abs().max() >= 1


def test_what_comes_out_is_the_rounded_matrices_and_the_tensors_that_hold_the_inverses() -> None:
    made, grid = planted(), grid_named("int8-g32")
    whole, changed = copy.deepcopy(made), {}
    for part in Quantiser(
        copy.deepcopy(made), grids_of(made, grid), calibration=IDS, scale_dtype=torch.float32
    ).run():
        assert part.layer is None or max(part.alphas.values()) > 0
        changed |= part.plain
        changed |= {name: matrix.values() for name, matrix in part.matrices.items()}
    assert {name.split(".")[-2] for name in changed if "norm" in name} <= {
        "input_layernorm",
        "post_attention_layernorm",
    }
    whole.load_state_dict(changed, strict=False)
    with torch.inference_mode():
        gap = (whole(SCORED) - made(SCORED)).abs().max() / made(SCORED).std()
    assert gap < 0.2
    assert not torch.allclose(
        whole.get_parameter("model.layers.0.mlp.gate_proj.weight"),
        made.get_parameter("model.layers.0.mlp.gate_proj.weight"),
        atol=0.05,
    )


def test_matrices_with_nothing_before_them_to_take_the_inverse_are_named() -> None:
    plain = grid_named("int4-g32")
    assert unscaled(model(), grids_of(model(), plain)) == []
    after = model(model_type="olmo2", norm_placement="after", qk_norm="projection")
    grids = grids_of(after, plain) | {"lm_head.weight": plain}
    assert unscaled(after, grids) == ["gate_proj", "k_proj", "lm_head", "q_proj", "up_proj", "v_proj"]
