"""Matrices that a model leaves to the kernels: which, and the numbers that they stand for."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coded_models import coded_gguf
from gguf_copies import split_gguf
from gguf_models import GRANITE_H, NEMOTRON_H, case_config, random_model
from mxfp4_models import mxfp4_folder
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmkit.formats.quantised.gptq import Gptq
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.load import load_model
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.save import save_model
from llmkit.model.stored_weights import StoredWeights
from llmkit.model.transformer import Transformer
from tests.model.recurrent.conftest import MAMBA, hybrid

SECTION = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False}
SHARED_FEED = {
    "qwen3_next": {
        **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
        "shared_expert_intermediate_size": 64,
    }
}
EXPERTS = ExpertsConfig(
    num_experts=4, num_experts_per_tok=2, intermediate_size=64, layers=(0, 1), norm_topk_prob=True
)


def check(path: Path) -> CodedWeights:
    """Every tensor left out stands for what a plain model has; every other is there; returns the former."""
    coded = CodedWeights()
    plain = load_model(path, dtype=torch.float32).state_dict()
    weights = StoredWeights(path, dtype="float32", coded=coded)
    assert weights.shapes == {name: tuple(one.shape) for name, one in plain.items()}
    for name, expected in plain.items():
        if name not in coded.sources:
            assert torch.equal(torch.from_numpy(weights.take(name)), expected), name
            continue
        matrices = [source() for source in coded.sources[name]]
        values = [torch.from_numpy(one.read(np.arange(one.num_rows)).values()) for one in matrices]
        assert torch.equal(torch.stack(values).view_as(expected), expected), name
    return coded


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("phi3", {}),
        (
            "qwen3_moe",
            {
                **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
                **{"intermediate_size": 512, "norm_topk_prob": True},
            },
        ),
    ],
)
def test_what_a_gguf_file_holds_as_codes_is_left_out(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    config = case_config(family, changes | {"hidden_size": 256, "head_dim": 64})
    types = {"attn": "Q4_0", "ffn_down": "Q8_0", "ffn": "Q5_1", "token_embd": "Q6_K", "output": "Q4_K"}
    whole = coded_gguf(tmp_path / "a.gguf", random_model(config), types)
    coded = check(whole)
    assert check(split_gguf(whole, tmp_path / "parts", 6)[0]).sources.keys() == coded.sources.keys()
    names = {name.split(".", 3)[-1] for name in coded.sources}
    assert {"self_attn.q_proj.weight", "model.embed_tokens.weight"} <= names | set(coded.sources)
    assert not any("norm" in name or "mlp.gate.weight" in name for name in coded.sources)


DELTA = {
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 128},
    **{"linear_value_head_dim": 128, "hidden_size": 256, "head_dim": 64, "intermediate_size": 512},
}


@pytest.mark.parametrize("key_heads", [2, 4])
@pytest.mark.parametrize(
    ("family", "inputs"),
    [("qwen3_5_text", {"in_proj_qkv", "in_proj_z"}), ("qwen3_next", {"in_proj_qkvz"})],
)
def test_the_delta_rule_s_matrices_are_left_out_though_a_file_has_their_heads_in_another_order(
    family: str, inputs: set[str], key_heads: int, tmp_path: Path
) -> None:
    config = case_config(family, {**DELTA, "linear_num_key_heads": key_heads, **SHARED_FEED.get(family, {})})
    types = {"attn_qkv": "Q5_K", "attn_gate": "Q4_K", "ssm_out": "Q6_K"}
    coded = check(coded_gguf(tmp_path / "a.gguf", random_model(config), types))
    names = {name.split(".")[-2] for name in coded.sources if "linear_attn" in name}
    assert names == inputs | {"out_proj"}


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("granitemoehybrid", {**GRANITE_H, "mamba_n_heads": 8, "mamba_d_head": 64}),
        ("nemotron_h", {**NEMOTRON_H, "mamba_head_dim": 64}),
    ],
)
def test_mamba_s_matrices_are_left_out(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    config = case_config(family, {**changes, "hidden_size": 256, "intermediate_size": 512, "head_dim": 64})
    types = {"ssm_in": "Q4_K", "ssm_out": "Q6_K", "attn": "Q5_K"}
    coded = check(coded_gguf(tmp_path / "a.gguf", random_model(config), types))
    names = {name.split(".")[-2] for name in coded.sources}
    assert names >= {"in_proj", "out_proj", "q_proj", "k_proj", "v_proj", "o_proj"}


def test_columns_of_heads_that_end_within_a_group_become_numbers(tmp_path: Path) -> None:
    config = case_config(
        "qwen3_5_text",
        {
            **DELTA,
            **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 48),
            "linear_num_value_heads": 16,
        },
    )
    coded = check(coded_gguf(tmp_path / "a.gguf", random_model(config), {"attn": "Q4_0", "ssm_out": "Q4_0"}))
    names = {name.split(".")[-2] for name in coded.sources if "linear_attn" in name}
    assert names == {"in_proj_qkv", "in_proj_z"}


def test_gpt_oss_s_experts_are_left_out_as_they_are_published(tmp_path: Path) -> None:
    coded = check(mxfp4_folder(tmp_path))
    assert {name.rpartition(".")[2] for name in coded.sources} == {"gate_up_proj", "down_proj"}
    assert {len(one) for one in coded.sources.values()} == {8}  # experts


def gptq_folder(model: Transformer, path: Path, order: str, kinds: tuple[str, ...]) -> None:
    """Write a model's folder, matrices of modules whose names have one of these in groups of 32 columns."""
    save_model(model, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"quantization_config": SECTION}))
    stored: dict[str, Tensor] = {}
    random = np.random.default_rng(0)
    for name, tensor in load_file(path / "model.safetensors").items():
        module = name.removesuffix(".weight")
        if tensor.dim() != 2 or not any(f".{kind}" in name for kind in kinds):
            stored[name] = tensor
            continue
        rows, columns = tensor.shape[::-1] if model.config.model_type == "gpt2" else tensor.shape
        codes = random.integers(0, 16, (rows, columns)).astype(np.uint8)
        parts = Gptq(4, 32).write(codes, random.integers(1, 16, (rows, columns // 32)).astype(np.int16))
        if order != "none":
            parts[".g_idx"] = parts[".g_idx"][::-1].copy()
        if order == "each":
            parts[".g_idx"] = random.permutation(parts[".g_idx"])
        parts[".scales"] = random.normal(size=(columns // 32, rows)).astype(np.float16)
        stored |= {module + suffix: torch.from_numpy(part) for suffix, part in parts.items()}
    save_file(stored, path / "model.safetensors")


@pytest.mark.parametrize("order", ["none", "one", "each"])
@pytest.mark.parametrize("family", ["llama", "mixtral", "gpt2"])
def test_a_gptq_folder_s_matrices_are_left_out_in_whatever_order_their_groups_are(
    family: str,
    order: str,
    tmp_path: Path,
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
) -> None:
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 64, "max_position_embeddings": 32}
    if family == "mixtral":
        sizes["experts"] = EXPERTS
    model = make_model(make_config(family, **sizes))
    gptq_folder(model, tmp_path, order, ("self_attn", "mlp", "attn", "experts"))
    coded = check(tmp_path)
    each = {"llama": 7, "mixtral": 6, "gpt2": 0}[family]  # gpt2's files have matrices turned
    if family == "mixtral" and order == "each":
        each -= 1  # an expert's gate and up, which become one matrix
    assert len(coded.sources) == each * make_config(family).num_hidden_layers


def test_the_two_products_of_mamba_2_are_left_out(tmp_path: Path) -> None:
    mamba = replace(MAMBA, num_heads=8, head_dim=8, state_size=8)
    gptq_folder(hybrid("granitemoehybrid", hidden_size=64, mamba=mamba), tmp_path, "one", ("mamba",))
    names = {
        f"model.layers.{layer}.mamba.{one}_proj.weight" for layer in mamba.layers for one in ("in", "out")
    }
    assert check(tmp_path).sources.keys() == names
