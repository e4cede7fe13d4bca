"""Which modules get factors, by our names and by the file's."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.targets import lora_targets, modules_to_train
from llmkit.model.config import ModelConfig


def _names(model: ModelConfig, **fields: Any) -> list[str]:
    return [target.name.removeprefix("model.layers.") for target in lora_targets(model, LoraConfig(**fields))]


def test_all_linear_is_every_matrix_in_the_layers(make_config: Callable[..., ModelConfig]) -> None:
    assert len(_names(make_config())) == 2 * 7
    assert len(_names(make_config("gpt2"))) == 2 * 6
    assert len(_names(make_config("mixtral"))) == 2 * 4  # no experts, no routers


def test_the_last_layers_alone_can_be_chosen(make_config: Callable[..., ModelConfig]) -> None:
    assert _names(make_config(), targets=("q_proj", "lm_head"), layers=1) == ["1.self_attn.q_proj"]


def test_the_files_name_of_a_fused_matrix_stands_for_all_of_it(
    make_config: Callable[..., ModelConfig],
) -> None:
    expected = [f"{layer}.self_attn.{one}_proj" for layer in (0, 1) for one in "qkv"]
    assert _names(make_config("gpt2"), targets=("c_attn",)) == expected
    assert _names(make_config("gpt_neox"), targets=("embed_out",)) == ["lm_head"]


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        ("llama", {"targets": ("q_porj",)}, "named 'q_porj'"),
        ("llama", {"layers": 3}, "in the last 3 layers: the model has 2"),
        ("llama", {"targets": ("q_proj", "c_attn")}, "'c_attn'"),
        ("llama", {"targets": ".*nothing"}, "nothing"),
        ("mixtral", {"targets": ("w1",)}, "experts and routers get none"),
        ("llama", {"targets": ("embed_tokens",), "use_dora": True}, "an embedding has no DoRA"),
    ],
)
def test_a_target_that_names_nothing_is_refused(
    family: str, fields: dict[str, Any], message: str, make_config: Callable[..., ModelConfig]
) -> None:
    with pytest.raises(ConfigError, match=message):
        _names(make_config(family), **fields)


def test_modules_trained_whole_get_no_factors(make_config: Callable[..., ModelConfig]) -> None:
    names = _names(make_config(), targets=("lm_head", "q_proj"), modules_to_save=("lm_head",))
    assert names == ["0.self_attn.q_proj", "1.self_attn.q_proj"]


def test_modules_to_train_are_found_by_their_ends(make_config: Callable[..., ModelConfig]) -> None:
    known = ["model.embed_tokens", "model.layers.0.self_attn.q_norm", "model.norm", "lm_head"]
    config = make_config("gpt2")
    assert modules_to_train(config, LoraConfig(modules_to_save=("wte", "norm")), known) == [
        known[0],
        known[2],
    ]
    with pytest.raises(ConfigError, match="embed_token'"):
        modules_to_train(config, LoraConfig(modules_to_save=("embed_token",)), known)
