"""Falcon-H1 in config.json: Mamba-2 beside attention, and what is multiplied."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.model.config_states import Mamba2Config, MultipliersConfig
from llmkit.model.families.falcon_h1 import Multipliers, SideBySide
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
FOUND = {"num_hidden_layers": 2, "hidden_size": 64, "hidden_act": "silu"}
FILE: dict[str, Any] = {  # of Falcon-H1-0.5B-Instruct, without what is of no consequence here
    **{"architectures": ["FalconH1ForCausalLM"], "model_type": "falcon_h1", "attention_bias": False},
    **{"attention_in_multiplier": 1.0, "attention_out_multiplier": 0.9375, "head_dim": 64},
    **{"embedding_multiplier": 5.656854249492381, "hidden_act": "silu", "hidden_size": 1024},
    **{"intermediate_size": 2048, "key_multiplier": 0.390625, "lm_head_multiplier": 0.0390625},
    **{"mamba_chunk_size": 128, "mamba_conv_bias": True, "mamba_d_conv": 4, "mamba_d_head": 64},
    **{"mamba_d_ssm": 1536, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1},
    **{"mamba_n_heads": 24, "mamba_norm_before_gate": False, "mamba_proj_bias": False},
    **{"mamba_rms_norm": False, "mamba_use_mlp": True, "max_position_embeddings": 16384},
    **{"mlp_bias": False, "mlp_multipliers": [0.8838834764831844, 0.5859375], "num_attention_heads": 8},
    **{"num_hidden_layers": 36, "num_key_value_heads": 2, "projectors_bias": False, "rope_scaling": None},
    **{"rope_theta": 100000000000.0, "ssm_in_multiplier": 1.25, "ssm_out_multiplier": 0.23570226039551587},
    "ssm_multipliers": [0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738],
    **{"tie_word_embeddings": False, "vocab_size": 32784, "rms_norm_eps": 1e-5},
}


def test_half_a_billion_is_as_large_as_its_name_says() -> None:
    config = ModelConfig.from_hf(FILE)
    assert config.state_layers == config.attention_layers == tuple(range(36))
    assert not config.layers_without_keys
    assert round(architecture_of(config).parameters / 1e6) == 521
    assert ModelConfig.from_hf(config.to_hf()) == config


def test_layers_are_read_as_they_are_written(keys: MakeKeys) -> None:
    given = {
        **{"mamba_d_ssm": 48, "mamba_n_heads": 6, "mamba_n_groups": 3, "mamba_d_state": 5, "mamba_d_conv": 3},
        **{"mamba_conv_bias": False, "mamba_rms_norm": True, "mamba_norm_before_gate": False},
    }
    found = SideBySide().read(keys(**given), FOUND)
    sizes = {"num_heads": 6, "head_dim": 8, "num_groups": 3, "state_size": 5, "kernel": 3}
    assert found["mamba"] == Mamba2Config(
        layers=(0, 1), **sizes, conv_bias=False, beside_attention=True, norm=True
    )
    assert SideBySide().read(keys(**SideBySide().write(found)), FOUND) == found
    wide = SideBySide().read(keys(mamba_d_ssm=None, mamba_n_heads=8), FOUND)["mamba"]
    assert (wide.width, wide.norm) == (128, False)  # mamba_expand times hidden_size


def test_multipliers_are_read_as_they_are_written(keys: MakeKeys) -> None:
    found = Multipliers().read(keys(**FILE), {})
    told: MultipliersConfig = found["multipliers"]
    assert (told.scores, told.attention) == (0.390625, 0.9375)
    assert told.state_inputs[3] == 0.625 and (told.mlp_out, told.state_out) == (
        0.5859375,
        0.23570226039551587,
    )
    assert (found["embedding_scale"], found["logit_scale"]) == (5.656854249492381, 0.0390625)
    written = Multipliers().write(found)
    assert {key: FILE[key] for key in written} == written
    assert Multipliers().read(keys(), {})["multipliers"] == MultipliersConfig()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mamba_n_heads": 7}, "mamba_n_heads is not a divisor of mamba_d_ssm, 1536"),
        ({"mamba_d_head": 32}, "mamba_d_head is not mamba_d_ssm / mamba_n_heads, 64"),
        ({"mamba_rms_norm": True, "mamba_norm_before_gate": True}, "mamba_norm_before_gate is not false"),
        ({"ssm_multipliers": [1.0] * 4}, "ssm_multipliers is not 5 numbers"),
        ({"mlp_multipliers": ["a", 1.0]}, "mlp_multipliers is not 2 numbers"),
        ({"projectors_bias": True}, "projectors_bias is not false"),
    ],
)
def test_what_is_not_computed_is_refused_by_the_key(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_hf(FILE | given)
