"""Nemotron-H in config.json: what each layer is, in words and letters, and the sizes of Mamba-2."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import Mamba2Config
from llmkit.model.families.nemotron_h import OneBranchLayers, branches
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
FILE: dict[str, Any] = {  # Nemotron-H-8B's config.json, without what is of no consequence here
    **{"architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h", "attention_bias": False},
    **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "chunk_size": 128, "conv_kernel": 4},
    **{"expand": 2, "head_dim": 128, "hidden_size": 4096, "intermediate_size": 21504, "mlp_bias": False},
    "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
    **{"layer_norm_epsilon": 1e-05, "mamba_head_dim": 64, "mamba_hidden_act": "silu", "n_groups": 8},
    **{"mamba_num_heads": 128, "mamba_proj_bias": False, "max_position_embeddings": 8192},
    **{"mlp_hidden_act": "relu2", "num_attention_heads": 32, "num_hidden_layers": 52},
    **{"num_key_value_heads": 8, "num_logits_to_keep": 1, "rescale_prenorm_residual": True},
    **{"residual_in_fp32": False, "sliding_window": None, "ssm_state_size": 128},
    **{"tie_word_embeddings": False, "time_step_floor": 0.0001, "time_step_limit": [0.0, float("inf")]},
    **{"time_step_max": 0.1, "time_step_min": 0.001, "torch_dtype": "bfloat16", "use_bias": False},
    **{"use_conv_bias": True, "use_mamba_kernels": True, "vocab_size": 131072},
}

SPARSE_FILE: dict[str, Any] = FILE | {  # of Nemotron 3 Nano 30B-A3B
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    **{"hidden_size": 2688, "intermediate_size": 1856, "moe_intermediate_size": 1856, "mamba_num_heads": 64},
    **{"moe_shared_expert_intermediate_size": 3712, "n_routed_experts": 128, "num_experts_per_tok": 6},
    **{"n_shared_experts": 1, "n_group": 1, "topk_group": 1, "norm_topk_prob": True},
    **{"routed_scaling_factor": 2.5, "num_key_value_heads": 2, "max_position_embeddings": 262144},
}


def test_the_30b_has_three_of_its_billions_at_work() -> None:
    config = ModelConfig.from_hf(SPARSE_FILE)
    assert config.experts is not None and config.lone_mlps == config.experts.layers
    assert (len(config.experts.layers), len(config.attention_layers)) == (23, 6)
    found = architecture_of(config)
    assert (round(found.parameters / 1e9, 1), round(found.active_parameters / 1e9, 1)) == (31.6, 3.6)
    assert ModelConfig.from_hf(config.to_hf()) == config


def test_the_8b_is_as_large_as_its_name_says() -> None:
    config = ModelConfig.from_hf(FILE)
    assert config.mamba is not None and config.lone_mlps is not None
    assert (len(config.mamba.layers), len(config.lone_mlps), config.num_hidden_layers) == (24, 24, 52)
    assert config.mamba.layers[:3] == (0, 2, 4) and config.lone_mlps[:3] == (1, 3, 5)
    assert round(architecture_of(config).parameters / 1e9, 1) == 8.1
    assert ModelConfig.from_hf(config.to_hf()) == config


def test_layers_are_read_as_they_are_written(keys: MakeKeys) -> None:
    given = {
        **{"hybrid_override_pattern": "M-*M", "mamba_num_heads": 6, "mamba_head_dim": 4, "n_groups": 3},
        **{"ssm_state_size": 5, "conv_kernel": 3, "use_conv_bias": False, "use_bias": True},
        **{"mamba_hidden_act": "gelu", "time_step_limit": [0.0, 0.5]},
    }
    found = OneBranchLayers().read(keys(**given), {})
    sizes = {"num_heads": 6, "head_dim": 4, "num_groups": 3, "state_size": 5, "kernel": 3}
    told = {"conv_bias": False, "bias": True, "hidden_act": "gelu", "step_limits": (0.0, 0.5)}
    assert found["mamba"] == Mamba2Config(layers=(0, 3), **sizes, **told)  # type: ignore[arg-type]
    assert (found["lone_mlps"], found["num_hidden_layers"]) == ((1,), 4)
    written = OneBranchLayers().write(found)
    assert written["layers_block_type"] == ["linear_attention", "mlp", "full_attention", "linear_attention"]
    assert OneBranchLayers().read(keys(**written), {}) == found


def test_experts_are_read_as_they_are_written(keys: MakeKeys) -> None:
    given = {
        **{"layers_block_type": ["moe", "mlp", "attention"], "n_routed_experts": 6, "num_experts_per_tok": 2},
        **{"moe_intermediate_size": 24, "moe_shared_expert_intermediate_size": 40, "n_group": 3},
        **{"topk_group": 2, "norm_topk_prob": False, "routed_scaling_factor": 2.5},
    }
    found = OneBranchLayers().read(keys(**given), {})
    assert found["lone_mlps"] == (0, 1)
    assert found["experts"] == ExpertsConfig(
        num_experts=6,
        num_experts_per_tok=2,
        intermediate_size=24,
        layers=(0,),
        scoring="sigmoid",
        routed_scaling_factor=2.5,
        num_groups=3,
        topk_groups=2,
        group_score="best_two",
        selection_bias=True,
        shared_intermediate_size=40,
    )
    written = OneBranchLayers().write(found)
    assert written["hybrid_override_pattern"] == "E-*"
    assert OneBranchLayers().read(keys(**written), {}) == found


def test_an_unknown_activation_of_mamba_2_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigError, match="mamba_hidden_act 'swish' is not supported"):
        ModelConfig.from_hf(FILE | {"mamba_hidden_act": "swish"})


def test_words_of_older_files_and_letters_say_the_same(keys: MakeKeys) -> None:
    expected = ("linear_attention", "mlp", "full_attention")
    assert branches(keys(layers_block_type=["mamba", "mlp", "attention"])) == expected
    assert branches(keys(layer_types=[*expected])) == expected
    assert branches(keys(hybrid_override_pattern="M-*")) == expected


def test_without_mamba_2_its_sizes_mean_nothing(keys: MakeKeys) -> None:
    found = OneBranchLayers().read(keys(hybrid_override_pattern="*-", mamba_num_heads=0), {})
    assert (found["mamba"], found["lone_mlps"]) == (None, (1,))
    assert OneBranchLayers().read(keys(**OneBranchLayers().write(found)), {}) == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hybrid_override_pattern": "ME", "moe_latent_size": 64}, "moe_latent_size.*fewer numbers"),
        ({"hybrid_override_pattern": "ME", "n_shared_experts": 2}, "n_shared_experts is not 1"),
        ({"hybrid_override_pattern": "ME", "n_group": 3}, "not a multiple of the groups"),
        ({"hybrid_override_pattern": "M-X"}, "hybrid_override_pattern.*words out of"),
        ({"layers_block_type": ["mamba", "conv"]}, "layers_block_type.*words out of"),
        ({"hybrid_override_pattern": "M-", "n_groups": 3}, "groups"),
    ],
)
def test_other_layers_are_refused_by_the_key(given: dict[str, Any], message: str, keys: MakeKeys) -> None:
    with pytest.raises(ConfigError, match=message):
        OneBranchLayers().read(keys(**given), {})
