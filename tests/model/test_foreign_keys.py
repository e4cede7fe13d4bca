"""Arithmetic that is not implemented is refused by the name of its key, and only when it is asked for."""

from types import ModuleType
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.foreign_keys import FOREIGN_KEYS, refuse_foreign

QWEN = {"num_hidden_layers": 4, "max_position_embeddings": 4096, "vocab_size": 8, "hidden_size": 8}
ON = {"use_sliding_window": True, "sliding_window": 64}


@pytest.mark.parametrize("key", FOREIGN_KEYS)
def test_a_key_that_asks_for_other_arithmetic_is_named_and_explained(key: str) -> None:
    for value in (2, 0.5, True, {"bits": 4}):
        with pytest.raises(ConfigError) as caught:
            refuse_foreign({"model_type": "llama", key: value}, "there")
        assert caught.value.problem == f"there: {key} ({FOREIGN_KEYS[key]}) is not supported yet"


@pytest.mark.parametrize("key", FOREIGN_KEYS)
def test_a_key_that_is_off_is_no_obstacle(key: str) -> None:
    for value in (None, False, 0, {}, []):
        refuse_foreign({"model_type": "llama", key: value}, "there")


def test_attention_scores_that_are_not_scaled_are_refused() -> None:
    refuse_foreign({"model_type": "gpt2", "scale_attn_weights": True}, "there")
    with pytest.raises(ConfigError, match="there: scale_attn_weights false"):
        refuse_foreign({"model_type": "gpt2", "scale_attn_weights": False}, "there")


@pytest.mark.parametrize("kinds", [["full_attention", "sliding_attention"], "sliding_attention", 5])
def test_layers_that_do_not_see_everything_are_refused(kinds: object) -> None:
    refuse_foreign({"model_type": "qwen3", "layer_types": ["full_attention"] * 4}, "there")
    with pytest.raises(ConfigError, match=r"there: layer_types with (sliding_attention|5) is not supported"):
        refuse_foreign({"model_type": "qwen3", "layer_types": kinds}, "there")


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"use_sliding_window": False, "sliding_window": 64},
        {**ON, "max_window_layers": 4},
        {**ON, "max_window_layers": 3},
        {**ON, "max_window_layers": 0},
        ON,
        {**ON, "num_hidden_layers": 40},
        {**ON, "max_window_layers": 0, "sliding_window": None},
    ],
)
def test_a_window_is_refused_where_transformers_has_layers_that_slide(
    family: str, keys: dict[str, Any], transformers: ModuleType
) -> None:
    theirs = transformers.CONFIG_MAPPING[family](**{**QWEN, **keys})
    if "sliding_attention" not in theirs.layer_types:
        refuse_foreign({"model_type": family, **QWEN, **keys}, "there")
        return
    with pytest.raises(ConfigError, match="there: sliding_window 64 is shorter than max_position_embeddings"):
        refuse_foreign({"model_type": family, **QWEN, **keys}, "there")


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ({"sliding_window": None, "max_position_embeddings": 32_768}, False),
        ({"sliding_window": 4096, "max_position_embeddings": 4096}, False),
        ({"sliding_window": 4096, "max_position_embeddings": 4097}, True),
        ({"max_position_embeddings": 32_768}, True),  # absent, a window is 4096 to the class
        ({"max_position_embeddings": 4096}, False),
        ({"sliding_window": 131_072}, False),  # and the context 131,072
        ({"sliding_window": 32_768}, True),
        ({"sliding_window": "all", "max_position_embeddings": 4096}, True),
    ],
)
def test_mistrals_window_is_refused_where_it_is_shorter_than_the_context(
    keys: dict[str, Any], refused: bool
) -> None:
    if not refused:
        refuse_foreign({"model_type": "mistral", **keys}, "there")
        return
    with pytest.raises(
        ConfigError, match=r"there: sliding_window .* is shorter than max_position_embeddings"
    ):
        refuse_foreign({"model_type": "mistral", **keys}, "there")


def test_a_window_means_nothing_to_the_other_families() -> None:
    refuse_foreign({"model_type": "llama", "sliding_window": 64, "use_sliding_window": True}, "there")
