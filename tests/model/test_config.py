"""A ModelConfig fills in what follows from its sizes and refuses what is no model."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ACTIVATIONS, ModelConfig

Make = Callable[..., ModelConfig]


def test_heads_share_the_width_and_have_keys_of_their_own_unless_told_otherwise(make_config: Make) -> None:
    plain = make_config(hidden_size=48, num_attention_heads=6)
    assert (plain.head_dim, plain.num_key_value_heads) == (8, 6)
    grouped = make_config(hidden_size=48, num_attention_heads=6, num_key_value_heads=2, head_dim=16)
    assert (grouped.head_dim, grouped.num_key_value_heads) == (16, 2)


@pytest.mark.parametrize(("given", "ids"), [(None, ()), (0, (0,)), ((1, 2), (1, 2))])
def test_ids_that_end_a_text_are_a_tuple_however_they_are_given(
    given: Any, ids: tuple[int, ...], make_config: Make
) -> None:
    assert make_config(eos_token_id=given).eos_token_ids == ids


@pytest.mark.parametrize(
    ("family", "fields", "words"),
    [
        ("llama", {"vocab_size": 0}, "vocab_size is not a whole number of at least 1 .found 0."),
        ("llama", {"num_hidden_layers": -1}, "num_hidden_layers is not a whole number"),
        ("llama", {"num_hidden_layers": 10**12}, "num_hidden_layers is not a possible number"),
        ("llama", {"intermediate_size": 2.5}, "intermediate_size is not a whole number"),
        ("llama", {"num_attention_heads": 0}, "num_attention_heads is not a whole number"),
        ("llama", {"hidden_size": 34}, "hidden_size .34. is not a multiple of num_attention_heads .4."),
        (
            "llama",
            {"num_key_value_heads": 3},
            "num_attention_heads .4. is not a multiple of num_key_value_heads",
        ),
        (
            "llama",
            {"num_key_value_heads": 8},
            "num_attention_heads .4. is not a multiple of num_key_value_heads",
        ),
        ("llama", {"head_dim": 7}, "rotary positions need an even number of a head's 7 numbers .found 7."),
        ("llama", {"norm_eps": -1e-5}, "norm_eps is not a number of at least 0"),
        ("llama", {"norm_eps": "1e-5"}, "norm_eps is not a number"),
        ("llama", {"initializer_range": float("nan")}, "initializer_range is not a number"),
        ("llama", {"rope_theta": 0.0}, "rope_theta is not a number above 0"),
        ("llama", {"rope_theta": float("inf")}, "rope_theta is not a number above 0"),
        ("llama", {"rope_scaling": {"factor": 2.0}}, "rope_type"),
        ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "original_max_position_embeddings"),
        ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 0.0}}, "factor"),
        ("llama", {"hidden_act": "swiglu"}, "hidden_act 'swiglu' is not supported"),
        ("llama", {"attention_bias": True}, "a llama model has output_bias True .found False."),
        ("qwen3", {"output_bias": True}, "a qwen3 model has output_bias False .found True."),
        ("gpt2", {"num_key_value_heads": 2}, "a gpt2 model has num_key_value_heads 4 .found 2."),
        ("gpt2", {"head_dim": 16}, "a gpt2 model has head_dim 8 .found 16."),
        ("gpt_neox", {"num_key_value_heads": 2}, "a gpt_neox model has num_key_value_heads 4 .found 2."),
        ("olmo2", {"head_dim": 16}, "a olmo2 model has head_dim 8 .found 16."),
        ("llama", {"qk_norm": "head"}, "a llama model has qk_norm none .found head."),
        ("llama", {"sliding_window": 8, "sliding_layers": (1,)}, "a llama model has sliding_window None"),
        ("llama", {"final_logit_softcapping": 30.0}, "a llama model has final_logit_softcapping None"),
        ("llama", {"norm": "layer"}, "a llama model has norm rms .found layer."),
        ("cohere", {"norm_bias": True}, "a cohere model has norm_bias False .found True."),
        ("mixtral", {"experts": None}, "a mixtral model has experts .found none."),
        ("llama", {"rotary_dim": 4}, "a llama model has rotary_dim 8 .found 4."),
        ("llama", {"model_type": "lama"}, "unknown model_type 'lama'"),
    ],
)
def test_what_is_no_model_is_refused_by_the_name_of_its_field(
    family: str, fields: dict[str, Any], words: str, make_config: Make
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_config(family, **fields)


def test_llama3_scaling_with_its_bounds_the_wrong_way_round_is_refused(make_config: Make) -> None:
    scaling = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64}
    for high in (4.0, 1.0):  # equal in Llama 4: one step
        make_config(rope_scaling={**scaling, "low_freq_factor": 1.0, "high_freq_factor": high})
    for low, high in ((4.0, 1.0), (2.0, 1.5)):
        with pytest.raises(ConfigError, match="high_freq_factor"):
            make_config(rope_scaling={**scaling, "low_freq_factor": low, "high_freq_factor": high})


def test_a_near_miss_is_guessed(make_config: Make) -> None:
    for fields, hint in (
        ({"hidden_act": "sillu"}, "did you mean silu?"),
        ({"model_type": "quen3"}, "did you mean qwen3?"),
        ({"num_attention_heads": 5, "head_dim": 8, "num_key_value_heads": 2}, "set num_key_value_heads to a"),
    ):
        with pytest.raises(ConfigError) as caught:
            make_config(**fields)
        assert caught.value.hint.startswith(hint)


def test_every_activation_named_is_one_that_a_model_may_have(make_config: Make) -> None:
    for name in ACTIVATIONS:
        assert make_config(hidden_act=name).hidden_act == name


def test_rotary_rules_do_not_bind_a_model_without_them(make_config: Make) -> None:
    assert make_config("gpt2", hidden_size=36, num_attention_heads=4).head_dim == 9


def test_a_config_and_the_file_it_writes_need_no_torch() -> None:
    script = (
        "import sys; from llmkit.model.config import ModelConfig; "
        "config = ModelConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, "
        "num_attention_heads=2); ModelConfig.from_hf(config.to_hf()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
