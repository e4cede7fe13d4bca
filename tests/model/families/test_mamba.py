"""Granite 4 and Bamba in config.json: layers of Mamba-2, an MLP alone or beside experts, positions."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.model.config_states import Mamba2Config
from llmkit.model.families.mamba import GraniteFeed, MambaLayers, RopeOrNone, step_limits, written_limits
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
FOUND = {"num_hidden_layers": 3, "hidden_size": 64, "hidden_act": "silu", "intermediate_size": 7}
MAMBA: dict[str, Any] = {
    **{"layer_types": ["mamba", "attention", "mamba"], "mamba_n_heads": 8, "mamba_d_head": 16},
    **{"mamba_n_groups": 2, "mamba_d_state": 6, "mamba_d_conv": 3, "mamba_conv_bias": False},
    **{"mamba_proj_bias": True, "mamba_chunk_size": 128},
}

BAMBA_9B: dict[str, Any] = {  # its config.json, without what is of no consequence here
    **{"architectures": ["BambaForCausalLM"], "model_type": "bamba", "attn_layer_indices": [9, 18, 27]},
    **{"attn_rotary_emb": 64, "hidden_size": 4096, "intermediate_size": 14336, "mamba_chunk_size": 256},
    **{"mamba_d_conv": 4, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1},
    **{"mamba_n_heads": 128, "mamba_conv_bias": True, "mamba_proj_bias": False, "num_attention_heads": 32},
    **{"num_hidden_layers": 32, "num_key_value_heads": 8, "num_logits_to_keep": 1, "rope_theta": 10000.0},
    **{"tie_word_embeddings": False, "vocab_size": 128256, "max_position_embeddings": 262144},
}


def test_layers_of_mamba_2_are_read_as_they_are_written(keys: MakeKeys) -> None:
    found = MambaLayers().read(keys(**MAMBA), FOUND)
    assert found["mamba"] == Mamba2Config(
        **{"layers": (0, 2), "num_heads": 8, "head_dim": 16, "num_groups": 2, "state_size": 6, "kernel": 3},
        **{"conv_bias": False, "bias": True},
    )
    written = MambaLayers().write({**FOUND, **found})
    assert written["layer_types"] == ["mamba", "attention", "mamba"] and written["mamba_expand"] == 2
    assert MambaLayers().read(keys(**written), FOUND) == found


def test_without_such_layers_their_keys_mean_nothing(keys: MakeKeys) -> None:
    given = {**MAMBA, "layer_types": ["attention"] * 3, "mamba_n_heads": 7}
    assert MambaLayers().read(keys(**given), FOUND) == {}
    assert MambaLayers().write({**FOUND, "mamba": None}) == {"layer_types": ["attention"] * 3}


def test_words_of_transformers_5_and_a_width_of_a_head_that_is_left_open(keys: MakeKeys) -> None:
    words = ["linear_attention", "full_attention", "linear_attention"]
    found = MambaLayers().read(keys(**{**MAMBA, "layer_types": words, "mamba_d_head": "auto"}), FOUND)
    assert (found["mamba"].layers, found["mamba"].head_dim) == ((0, 2), 16)


def test_bamba_counts_the_layers_that_attend(keys: MakeKeys) -> None:
    part, given = MambaLayers(by_index=True), {**MAMBA, "attn_layer_indices": [1]}
    del given["layer_types"]
    found = part.read(keys(**given), FOUND)
    assert found["mamba"].layers == (0, 2)
    written = part.write({**FOUND, **found})
    assert written["attn_layer_indices"] == [1] and part.read(keys(**written), FOUND) == found
    assert part.read(keys(**{**given, "attn_layer_indices": None}), FOUND)["mamba"].layers == (0, 1, 2)
    with pytest.raises(ConfigError, match="attn_layer_indices is not numbers of layers, 0 to 2"):
        part.read(keys(**{**given, "attn_layer_indices": [3]}), FOUND)


def test_bamba_9b_is_as_large_as_its_name_says() -> None:
    config = ModelConfig.from_hf(BAMBA_9B)
    assert config.attention_layers == (9, 18, 27) and config.rotary_dim == 64
    assert round(architecture_of(config).parameters / 1e9, 2) == 9.78
    assert ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layer_types", ["mamba", "attention", "conv"]),
        ("layer_types", ["mamba"]),
        ("mamba_n_heads", 7),
        ("mamba_d_head", 15),
        ("mamba_d_state", 0),
        ("mamba_conv_bias", 3),
        ("time_step_limit", [1.0, 0.5]),
        ("time_step_limit", [0.1]),
        ("time_step_limit", ["a", "b"]),
    ],
)
def test_what_no_class_computes_is_refused_by_the_key(key: str, value: Any, keys: MakeKeys) -> None:
    with pytest.raises(ConfigError, match=key):
        MambaLayers().read(keys(**{**MAMBA, key: value}), FOUND)


@pytest.mark.parametrize("last", [float("inf"), "Infinity", {"__float__": "Infinity"}])
def test_an_infinite_limit_has_three_spellings(last: Any, keys: MakeKeys) -> None:
    assert step_limits(keys(time_step_limit=[0.25, last])) == (0.25, float("inf"))
    assert step_limits(keys(time_step_limit=None)) == step_limits(keys()) == (0.0, float("inf"))


def test_limits_are_written_where_they_are_not_the_classs_own(keys: MakeKeys) -> None:
    def mamba(*limits: float) -> Mamba2Config:
        sizes = {"layers": (0,), "num_heads": 1, "head_dim": 1, "num_groups": 1, "state_size": 1, "kernel": 1}
        return Mamba2Config(**sizes, step_limits=limits)  # type: ignore[arg-type]

    assert written_limits(mamba(0.0, float("inf"))) == {}
    for limits in ((0.1, float("inf")), (0.0, 0.5)):
        assert step_limits(keys(**written_limits(mamba(*limits)))) == limits


def test_the_mlp_is_the_shared_one_and_stands_beside_experts(keys: MakeKeys) -> None:
    alone = GraniteFeed().read(keys(num_local_experts=0, shared_intermediate_size=48), FOUND)
    assert alone == {"intermediate_size": 48}
    written = GraniteFeed().write({**FOUND, **alone, "experts": None})
    assert GraniteFeed().read(keys(**written), FOUND) == alone
    mixed = GraniteFeed().read(keys(num_local_experts=4, shared_intermediate_size=48), FOUND)
    experts = mixed["experts"]
    assert (experts.num_experts, experts.num_experts_per_tok, experts.layers) == (4, 2, (0, 1, 2))
    assert (experts.intermediate_size, experts.shared_intermediate_size, experts.shared_gate) == (
        7,
        48,
        False,
    )
    assert GraniteFeed().read(keys(**GraniteFeed().write({**FOUND, **mixed})), FOUND) == mixed


def test_attention_has_positions_only_where_the_file_says_rope(keys: MakeKeys) -> None:
    for kind, layers in (("rope", ()), ("nope", (0, 1, 2)), (None, (0, 1, 2))):
        found = RopeOrNone().read(keys(position_embedding_type=kind), FOUND)
        assert found == {"no_rope_layers": layers}
        assert RopeOrNone().read(keys(**RopeOrNone().write(found)), FOUND) == found
    with pytest.raises(ConfigError, match="position_embedding_type"):
        RopeOrNone().read(keys(position_embedding_type="alibi"), FOUND)
