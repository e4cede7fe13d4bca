"""Experts in one tensor, transformers 5's way in memory, are those of a folder with a matrix for each."""

from pathlib import Path
from types import ModuleType
from typing import Any

import gguf_models
import pytest
import torch
from safetensors import safe_open

from llmkit.formats.model_folder import TensorInfo
from llmkit.model.expert_stacks import each_expert
from llmkit.model.load import load_model

CASES: list[tuple[str, dict[str, Any]]] = [
    ("mixtral", gguf_models.LOCAL),
    ("qwen2_moe", gguf_models.SHARED),
    ("deepseek_v3", {**gguf_models.LATENT, **gguf_models.GROUPS}),
]


@pytest.mark.parametrize(("family", "changes"), CASES)
def test_a_folder_with_stacks_is_the_model_that_transformers_saved(
    family: str, changes: dict[str, Any], tmp_path: Path, transformers: ModuleType
) -> None:
    config = transformers.CONFIG_MAPPING[family](**{**gguf_models.SIZES, **changes})
    theirs = transformers.AutoModelForCausalLM.from_config(config)
    theirs.save_pretrained(tmp_path / "stacks", save_original_format=False)
    theirs.save_pretrained(tmp_path / "each")
    with safe_open(tmp_path / "stacks" / "model.safetensors", "pt") as file:
        assert "model.layers.1.mlp.experts.gate_up_proj" in file.keys()  # noqa: SIM118
    ours, each = (load_model(tmp_path / name).state_dict() for name in ("stacks", "each"))
    assert ours.keys() == each.keys()
    assert all(torch.equal(ours[name], each[name]) for name in ours)


def test_a_stack_is_cut_where_its_experts_begin_and_the_router_is_renamed() -> None:
    config = gguf_models.case_config("mixtral", gguf_models.LOCAL)
    layer, at = "model.layers.2", Path("there")
    name = f"{layer}.mlp.experts.gate_up_proj"
    router = TensorInfo(f"{layer}.mlp.gate.weight", "F32", (8, 64), 8 * 64 * 4, at, 100)
    found = each_expert(
        {name: TensorInfo(name, "BF16", (8, 192, 64), 8 * 192 * 64 * 2, at, 10_000), router.name: router},
        config,
    )
    assert len(found) == 8 * 2 + 1
    up = f"{layer}.block_sparse_moe.experts.3.w3.weight"  # after w1, the gate, of the same expert
    assert found[up] == TensorInfo(up, "BF16", (96, 64), 96 * 64 * 2, at, 10_000 + (3 * 2 + 1) * 96 * 64 * 2)
    assert found[f"{layer}.block_sparse_moe.gate.weight"].offset == 100


def test_what_is_no_stack_of_this_model_is_left_as_it_is() -> None:
    config = gguf_models.case_config("mixtral", gguf_models.LOCAL)
    name = "model.layers.2.mlp.experts.down_proj"
    stored = {name: TensorInfo(name, "F32", (4, 64, 96), 4 * 64 * 96 * 4, Path("there"))}
    assert each_expert(stored, config) == stored
    assert each_expert(stored, gguf_models.case_config("qwen3", {})) == stored
