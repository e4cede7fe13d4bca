"""Plans of safetensors folders: what is rounded, what stays and why, and the bytes of written tensors."""

import math
from typing import Any

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.formats.model_folder import DTYPE_BITS
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.transformer import Transformer
from llmkit.quant.container_tensors import QuantisedFiles
from llmkit.quant.containers import Container, container_grid
from llmkit.quant.grid import Grid
from llmkit.quant.plan import PlanUnit, QuantPlan, Wishes
from llmkit.quant.plan_folder import folder_plan
from tests.model.recurrent.conftest import hybrid
from tests.quant.small_models import config, experts, on_meta

GRID = container_grid("compressed-tensors", "int4-g32", torch.bfloat16)
GPT2 = {
    **{"model_type": "gpt2", "norm": "layer", "position": "learned", "gated_mlp": False},
    **{"hidden_act": "gelu_new", "attention_bias": True, "output_bias": True, "mlp_bias": True},
    **{"tie_word_embeddings": True, "num_key_value_heads": 4},
}
QWEN3_MOE = {"model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()}


def plan(container: Container = "compressed-tensors", grid: Grid = GRID, **changes: Any) -> QuantPlan:
    return folder_plan(on_meta(**changes), container, grid, dtype=torch.bfloat16)


def fallbacks(made: QuantPlan) -> list[PlanUnit]:
    """Matrices that do not have what was asked for."""
    return [unit for unit in made.units if unit.reason.startswith("fallback: ")]


def by_kind(made: QuantPlan) -> dict[str, PlanUnit]:
    return {unit.kind: unit for unit in made.units if unit.layer in (1, None)}


def test_layers_are_rounded_and_all_else_stays() -> None:
    made = plan()
    kinds = by_kind(made)
    assert {kind for kind, unit in kinds.items() if unit.grid is not None} == {
        *("q_proj", "o_proj", "gate_proj", "down_proj")
    }
    assert kinds["lm_head"].reason == "stays unless asked for"
    assert kinds["embed_tokens"].reason == "compressed-tensors files keep an embedding in plain numbers"
    assert kinds["input_layernorm"].stored_as == "bfloat16"
    assert fallbacks(made) == []


def test_bytes_are_codes_and_scales_and_shapes_and_what_stays() -> None:
    made = plan()
    layer = 256 * 256 * 2 + 2 * 128 * 256 + 3 * 256 * 512  # q and o, k and v, the MLP
    kept = 2 * (2 * 96 * 256 + 7 * 256)  # embeddings, head, two norms a layer and the last
    assert made.nbytes == kept + 3 * (layer // 2 + layer // 32 * 2 + 7 * 2 * 8)


@pytest.mark.parametrize(
    ("container", "name", "changes"),
    [
        *(("compressed-tensors", "int3-g128-asym", {}), ("gptq", "int4-g128", GPT2)),
        *(("awq", "int4-g32-asym", {}), ("mlx", "mlx-4bit-g64", {"tie_word_embeddings": True})),
        *(("gptq", "int8-g32", {"model_type": "phi3"}), ("compressed-tensors", "int4-g64", QWEN3_MOE)),
    ],
)
def test_the_tensors_of_the_files_have_the_bytes_of_the_plan(
    container: Container, name: str, changes: dict[str, Any]
) -> None:
    grid = container_grid(container, name, torch.bfloat16)
    made = plan(container, grid, **changes)
    shapes = {name: tuple(value.shape) for name, value in on_meta(**changes).state_dict().items()}
    files = QuantisedFiles(config(**changes), shapes, made.grids, container, torch.bfloat16)
    written = sum(math.prod(part.shape) * DTYPE_BITS[part.dtype] // 8 for part in files.planned())
    assert made.nbytes == written
    assert fallbacks(made) == []


def test_servers_get_one_grid_for_what_they_multiply_at_once() -> None:
    kinds = by_kind(plan())
    assert len(kinds["q_proj"].names) == 3
    assert len(kinds["gate_proj"].names) == 2
    assert not kinds.keys() & {"k_proj", "v_proj", "up_proj"}


def test_experts_are_one_unit_of_many_files_and_the_router_stays() -> None:
    kinds = by_kind(plan(**QWEN3_MOE))
    unit = kinds["experts.gate_up_proj"]
    assert unit.grid is GRID
    assert set(unit.files.values()) == {(256, 256)}
    assert len(unit.files) == 8  # gate and up of four experts
    assert (kinds["gate"].grid, kinds["gate"].can_round) == (None, False)


def test_head_and_embeddings_are_rounded_when_asked_for_where_files_allow_it() -> None:
    assert by_kind(Wishes(head=GRID).apply(plan()))["lm_head"].grid is GRID
    mlx = container_grid("mlx", "mlx-4bit-g64", torch.bfloat16)
    made = Wishes(embeddings=mlx).apply(plan("mlx", mlx, tie_word_embeddings=True))
    assert by_kind(made)["embed_tokens"].grid is mlx
    with pytest.raises(UsageError, match="--embeddings int4-g32: compressed-tensors files keep an embedding"):
        Wishes(embeddings=GRID).apply(plan())


def test_rows_that_groups_do_not_divide_stay_and_are_told() -> None:
    made = plan(intermediate_size=528)
    unit = by_kind(made)["down_proj"]
    assert (unit.grid, unit.stored_as) == (None, "bfloat16")
    assert unit.reason == "fallback: a row of 528 is no whole number of groups of 32"
    assert len(fallbacks(made)) == 3


def test_shapes_that_a_container_cannot_hold_stay_and_are_told() -> None:
    grid = container_grid("gptq", "int4-g32", torch.float16)
    made = plan("gptq", grid, intermediate_size=520)
    gate = by_kind(made)["gate_proj"]
    assert gate.grid is None
    assert gate.reason.startswith("fallback: ")
    assert gate.can_round


def test_matrices_that_a_family_keeps_turned_stay_where_readers_want_them_plain() -> None:
    made = plan(**GPT2)
    assert made.open_units == ()
    assert {unit.kind for unit in fallbacks(made)} == {"q_proj", "o_proj", "up_proj", "down_proj"}
    assert "files keep matrices of (inputs, outputs) in plain" in by_kind(made)["o_proj"].reason


def test_a_grid_that_the_container_does_not_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="mlx files cannot hold int4-g32"):
        plan("mlx")


def test_products_of_layers_of_state_are_rounded_and_what_decides_on_decays_stays() -> None:
    with torch.device("meta"):
        model = Transformer(hybrid("qwen3_5_text", hidden_size=64, head_dim=16).config)
    made = folder_plan(model, "compressed-tensors", GRID, dtype=torch.bfloat16)
    layer = {unit.kind: unit for unit in made.units if unit.layer == 0}
    assert layer["in_proj_qkv"].grid == GRID
    assert layer["in_proj_qkv"].names == tuple(
        f"model.layers.0.linear_attn.in_proj_{name}.weight" for name in ("qkv", "z")
    )
    for kind in ("in_proj_a", "in_proj_b", "conv1d"):
        assert (layer[kind].grid, layer[kind].reason) == (None, "")


def test_products_of_mamba_2_are_rounded_and_stacks_that_files_keep_whole_stay_and_are_told() -> None:
    mixture = ExpertsConfig(
        **{"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 64, "layers": (0, 1, 2)},
        **{"norm_topk_prob": True, "shared_intermediate_size": 64, "router_aux_loss_coef": 0.001},
    )
    made = hybrid("granitemoehybrid", hidden_size=64, intermediate_size=64, experts=mixture)
    planned = folder_plan(made, "compressed-tensors", GRID, dtype=torch.bfloat16)
    layer = {unit.names[0].removeprefix("model.layers.0."): unit for unit in planned.units}
    assert layer["mamba.in_proj.weight"].grid == layer["mamba.out_proj.weight"].grid == GRID
    for name in ("conv1d.weight", "A_log", "D", "dt_bias"):
        assert (layer[f"mamba.{name}"].grid, layer[f"mamba.{name}"].reason) == (None, "")
    stack = layer["mlp.experts.down_proj"]
    assert stack.reason == "fallback: compressed-tensors files keep these experts in plain numbers"
    assert not stack.can_round
