"""Names and shapes told from a config are those of the network that it makes, for every family and switch."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from family_models import CASES, their_config

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig, LatentConfig
from llmkit.model.presets import PRESETS
from llmkit.model.shapes import Shape, branch_norms, tensor_shapes
from llmkit.model.transformer import Transformer


def _of_the_network(config: ModelConfig) -> list[tuple[str, Shape]]:
    with torch.device("meta"):
        return [(name, tuple(tensor.shape)) for name, tensor in Transformer(config).state_dict().items()]


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_tensors_are_the_networks_in_its_order(name: str) -> None:
    assert list(tensor_shapes(PRESETS[name]).items()) == _of_the_network(PRESETS[name])


@pytest.mark.parametrize("case", range(len(CASES)), ids=[family for family, _ in CASES])
def test_tensors_of_every_family_are_the_networks_in_its_order(case: int, transformers: ModuleType) -> None:
    family, changes = CASES[case]
    theirs = their_config(family, changes)
    config = ModelConfig.from_hf(json.loads(theirs.to_json_string(use_diff=False)))
    assert list(tensor_shapes(config).items()) == _of_the_network(config)


def test_tensors_of_released_models_are_the_networks(shared_data: Path) -> None:
    seen = 0
    for path in sorted((shared_data / "configs").glob("*/config.json")):
        config = ModelConfig.from_hf(json.loads(path.read_text()))
        assert list(tensor_shapes(config).items()) == _of_the_network(config)
        seen += 1
    assert seen > 10


def _made_up(count: int) -> Iterator[ModelConfig]:
    """Every switch that a network knows at random, whether or not a family has them together."""
    draw = random.Random(0)
    plain = ModelConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4
    )
    switches: dict[str, tuple[Any, ...]] = {
        "norm": ("rms", "layer"),
        "norm_placement": ("before", "after", "both"),
        "residual": ("serial", "parallel", "parallel_one_norm"),
        "position": ("rope", "learned", "sinusoidal"),
        "qk_norm": ("none", "head", "projection"),
        "head_dim": (4, 6),
        "num_key_value_heads": (1, 2, 4),
        **dict.fromkeys(
            (
                *("norm_bias", "attention_bias", "output_bias", "attention_sinks", "mlp_bias"),
                *("gated_mlp", "head_bias", "tie_word_embeddings", "norm_plus_one"),
            ),
            (False, True),
        ),
    }
    parts: dict[str, tuple[Any, ...]] = {
        **dict.fromkeys(("selection_bias", "shared_gate", "router_bias", "expert_bias"), (False, True)),
        "shared_intermediate_size": (0, 12),
        "layers": ((), (1,), (0, 1, 2)),
    }
    for _ in range(count):
        config = copy(plain)
        vars(config).update({name: draw.choice(values) for name, values in switches.items()})
        if draw.random() < 0.6:
            vars(config)["experts"] = ExpertsConfig(
                **{"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6},
                **{name: draw.choice(values) for name, values in parts.items()},
            )
        if draw.random() < 0.3:
            vars(config)["latent"] = LatentConfig(
                **{"kv_lora_rank": 9, "q_lora_rank": draw.choice((0, 7))},
                **{"qk_nope_head_dim": 5, "qk_rope_head_dim": 2, "v_head_dim": 3},
            )
        yield config


def test_tensors_of_three_hundred_made_up_models_are_the_networks() -> None:
    names = set()
    for config in _made_up(300):
        found = tensor_shapes(config)
        assert list(found.items()) == _of_the_network(config), config
        names |= {name.replace(".1.", ".*.") for name in found}
    some = {"self_attn.sinks", "self_attn.q_a_layernorm.weight", "mlp.gate.e_score_correction_bias"}
    assert {f"model.layers.*.{name}" for name in some} <= names


def test_layers_name_their_norms_by_where_these_stand(make_config: Any) -> None:
    both = make_config("gemma2")
    assert len(branch_norms(both)) == 4
    assert branch_norms(make_config("olmo2")) == ("post_attention_layernorm", "post_feedforward_layernorm")
    assert branch_norms(make_config("cohere")) == ("input_layernorm",)


def test_shapes_and_angles_are_told_without_torch() -> None:
    modules = ("shapes", "rope_tables", "config", "position_tables")
    names = ", ".join(f"llmkit.model.{module}" for module in modules)
    code = f"import sys, {names}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
