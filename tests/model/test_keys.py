"""Which values a config.json may have, and which keys no reader may pass over."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config_checks import MOST_LAYERS
from llmkit.model.keys import Keys


def keys(**config: Any) -> Keys:
    return Keys(config, "config.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_nextn_predict_layers", 1),
        ("kv_lora_rank", 512),
        ("sliding_window", 4096),
        ("moe_shared_expert", True),
        ("use_qk_norm", True),
        ("layer_types", ["full_attention"]),
        ("is_encoder_decoder", True),
        ("is_causal", False),
    ],
)
def test_a_set_key_that_changes_sizes_and_no_one_read_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        keys(**{name: value}).refuse_unknown("llama")
    assert caught.value.problem.startswith("config.json: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beams", 4),
        ("chunk_size_feed_forward", 1),
        ("ep_size", 2),
        ("pad_token_id", 1),
        ("rms_norm_eps", 1e-5),
        ("state_norm_eps", 1e-5),
        ("rope_scaling", {"factor": 8.0}),
        ("quantization_config", {"bits": 4}),
        ("hidden_act", "silu"),
        ("num_experts", 0),
        ("sliding_window", None),
        ("attention_bias", False),
        ("is_encoder_decoder", False),
        ("is_causal", True),
        ("is_causal", None),
    ],
)
def test_a_key_without_consequence_or_unset_passes(name: str, value: Any) -> None:
    keys(**{name: value}).refuse_unknown("llama")


def test_a_key_that_was_looked_up_is_understood() -> None:
    found = keys(sliding_window=16, num_experts=8)
    found.optional("sliding_window")
    with pytest.raises(ConfigError, match="num_experts"):
        found.refuse_unknown("mistral")
    found.known("num_experts")
    found.refuse_unknown("mistral")


def test_a_misspelt_key_is_answered_with_the_nearest_one_known() -> None:
    found = keys(num_key_value_head=8)
    found.optional("num_key_value_heads")
    with pytest.raises(ConfigError) as caught:
        found.refuse_unknown("llama")
    assert caught.value.hint == "did you mean num_key_value_heads?"


@pytest.mark.parametrize("name", ["num_hidden_layers", "n_layer"])
def test_more_layers_than_any_model_has_are_a_damaged_file(name: str) -> None:
    assert keys(**{name: MOST_LAYERS}).whole(name) == 10_000
    with pytest.raises(ConfigError, match=f"{name} is not a possible number"):
        keys(**{name: MOST_LAYERS + 1}).whole(name)


@pytest.mark.parametrize(("name", "value"), [("n_positions", 32_768), ("n_inner", 14_336)])
def test_widths_and_lengths_may_exceed_the_most_layers(name: str, value: int) -> None:
    assert keys(**{name: value}).whole(name) == value


def test_a_whole_number_is_found_under_the_first_name_that_is_set() -> None:
    assert keys(n_embd=None, hidden_size=8).whole("n_embd", "hidden_size") == 8
    assert keys(n_embd=4, hidden_size=8).whole("n_embd", "hidden_size") == 4
    assert keys().whole("n_embd", default=2) == 2
    with pytest.raises(ConfigError, match=r"no 'n_embd' \(found: other\)"):
        keys(other=1).whole("n_embd")


@pytest.mark.parametrize("value", [0, -1, True, "8", 8.0, [8]])
def test_what_is_no_whole_number_from_1_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="vocab_size is not a whole number from 1"):
        keys(vocab_size=value).whole("vocab_size")


def test_zero_and_null_ask_for_nothing_where_a_number_is_optional() -> None:
    assert keys(head_dim=0).optional("head_dim", 64) is None
    assert keys(head_dim=None).optional("head_dim", 64) is None
    assert keys().optional("head_dim", 64) == 64
    assert keys(n_shared_experts=0).count("n_shared_experts", 2) == 0
    assert keys().count("n_shared_experts", 2) == 2
    with pytest.raises(ConfigError, match="head_dim"):
        keys(head_dim=False).optional("head_dim")


def test_a_switch_is_fixed_or_a_key_with_its_default() -> None:
    assert keys(bias=False).switch(True)
    assert not keys().switch("bias")
    assert keys().switch(("bias", True))
    assert not keys(bias=False).switch(("bias", True))
    assert not keys(bias=None).switch(("bias", True))
    with pytest.raises(ConfigError, match="bias is not true or false"):
        keys(bias=1).switch("bias")


def test_a_number_for_each_layer_is_given_once_or_layer_by_layer() -> None:
    assert keys(intermediate_size=7).per_layer("intermediate_size", 3) == (7, 7, 7)
    assert keys(intermediate_size=[7, 8, 9]).per_layer("intermediate_size", 3) == (7, 8, 9)
    for wrong in ([7, 8], [7, 0, 9], [7, -1, 9], [7, True, 9]):
        with pytest.raises(ConfigError, match="intermediate_size"):
            keys(intermediate_size=wrong).per_layer("intermediate_size", 3)


def test_lists_hold_one_kind_of_value() -> None:
    assert keys(no_rope_layers=[0, 1]).numbers("no_rope_layers") == (0, 1)
    assert keys().numbers("no_rope_layers") is None
    assert keys(layer_types=["a"]).words("layer_types") == ("a",)
    assert keys(dtype="bfloat16").word("dtype", "torch_dtype", default="float32") == "bfloat16"
    with pytest.raises(ConfigError, match="no_rope_layers"):
        keys(no_rope_layers=1).numbers("no_rope_layers")
    with pytest.raises(ConfigError, match="layer_types"):
        keys(layer_types=["a", 1]).words("layer_types")
    with pytest.raises(ConfigError, match="dtype"):
        keys(dtype=16).word("dtype", default="float32")


def test_the_names_after_the_first_that_is_set_are_understood_too() -> None:
    found = keys(hidden_activation="gelu", hidden_act="relu", norm_a=1.0, norm_b=2.0)
    assert found.word("hidden_activation", "hidden_act", default="silu") == "gelu"
    assert found.number("norm_a", "norm_b", default=None) == 1.0
    found.refuse_unknown("gemma2", signs=("act", "norm"))
