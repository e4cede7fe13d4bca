"""Which layers look how far back, by the rules of each family's class and what a file says."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import (
    KindsRule,
    after_max_window_layers,
    dots1,
    every,
    exaone4,
    layer_words,
    layers_of,
    linear_but_every,
    llama4,
    mamba_but_some,
    no_window,
    odd_before_max_window_layers,
    one_window,
    smollm3,
)

WINDOW = {"sliding_window": 16}
USED = {**WINDOW, "use_sliding_window": True}


def letters(rule: KindsRule, config: dict[str, Any], layers: int = 6) -> str:
    """f full, s sliding, c chunked, t state: one for each layer; and the window."""
    kinds, window = rule(Keys(config, "config.json"), layers)
    return "".join({"state": "t"}.get(kind, kind[0]) for kind in kinds) + f" {window}"


@pytest.mark.parametrize(
    ("rule", "config", "expected"),
    [
        (no_window, {}, "ffffff 0"),
        (one_window(4096), {}, "ssssss 4096"),  # Mistral's class
        (one_window(4096), WINDOW, "ssssss 16"),
        (one_window(4096), {"sliding_window": None}, "ffffff 0"),  # Mistral-7B-v0.3
        (one_window(4096), {**WINDOW, "use_sliding_window": False}, "ffffff 0"),
        (one_window(None), {}, "ffffff 0"),
        (exaone4, {}, "sssfss 4096"),
        (exaone4, {**WINDOW, "sliding_window_pattern": 2}, "sfsfsf 16"),
        (exaone4, {**WINDOW, "sliding_window_pattern": "LLG"}, "ssfssf 16"),  # EXAONE-4.0-32B has letters
        (exaone4, {"sliding_window": None}, "ffffff 0"),  # EXAONE-4.0-1.2B
        (exaone4, {"sliding_window": None, "sliding_window_pattern": "LLG"}, "ffffff 0"),
        (one_window(4096, used=False), {}, "ffffff 0"),  # Qwen3-MoE's class
        (one_window(4096, used=False), USED, "ssssss 16"),
        (every(2, 4096), {}, "sfsfsf 4096"),  # Gemma 2 begins with a window
        (every(6, 4096, "sliding_window_pattern"), WINDOW, "sssssf 16"),
        (every(6, 4096, "sliding_window_pattern"), {"sliding_window_pattern": 3}, "ssfssf 4096"),
        (every(2, 128), {"layer_types": ["full_attention"] * 5 + ["sliding_attention"]}, "fffffs 128"),
        (after_max_window_layers, {**WINDOW, "max_window_layers": 2}, "ffffff 0"),  # not in use
        (after_max_window_layers, {**USED, "max_window_layers": 2}, "ffssss 16"),
        (after_max_window_layers, USED, "ffffff 16"),  # 28 layers see everything by default
        (dots1, {}, "ffffff 4096"),
        (dots1, {**WINDOW, "max_window_layers": 4}, "ffffss 16"),
        (dots1, {"sliding_window": None, "max_window_layers": 4, "use_sliding_window": True}, "ffffff 0"),
        (odd_before_max_window_layers, {**USED, "max_window_layers": 3}, "sfsfff 16"),
        (smollm3, {**USED, "no_rope_layer_interval": 3}, "ffsffs 16"),
        (smollm3, {**USED, "no_rope_layers": [0, 1, 1, 1, 1, 0]}, "sffffs 16"),
        (llama4, {}, "cccfcc 8192"),
        (llama4, {"attention_chunk_size": None}, "ffffff 0"),
        (llama4, {"no_rope_layers": [1, 0] * 3, "attention_chunk_size": 32}, "cfcfcf 32"),
        (linear_but_every, {}, "tttftt 0"),
        (linear_but_every, {"full_attention_interval": 2}, "tftftf 0"),
        (mamba_but_some, {}, "tttttt 0"),
        (mamba_but_some, {"layer_types": ["mamba", "attention"] * 3}, "tftftf 0"),
    ],
)
def test_layers_look_as_far_back_as_their_family_says(
    rule: KindsRule, config: dict[str, Any], expected: str
) -> None:
    assert letters(rule, config) == expected


@pytest.mark.parametrize(
    ("rule", "config", "named"),
    [
        (no_window, {"layer_types": ["sliding_attention"] * 6}, "layer_types"),
        (no_window, {"layer_types": ["full_attention"] * 5}, "layer_types"),
        (no_window, {"layer_types": ["full_attention"] * 5 + ["cross_attention"]}, "layer_types"),
        (no_window, {"layer_types": "full_attention"}, "layer_types"),
        (one_window(None), {"layer_types": ["sliding_attention"] * 6}, "sliding_window"),
        (llama4, {"layer_types": ["chunked_attention"] * 6, "attention_chunk_size": None}, "chunk_size"),
        (smollm3, {"no_rope_layers": [1, 0]}, "no_rope_layers"),
        (every(2, 128), {"sliding_window": -1}, "sliding_window"),
    ],
)
def test_layers_that_a_file_does_not_settle_are_refused(
    rule: KindsRule, config: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        letters(rule, config)


def test_layers_of_a_kind_are_told_in_words_and_read_again() -> None:
    words = layer_words(5, (1, 4), "conv")
    assert words == ["full_attention", "conv", "full_attention", "full_attention", "conv"]
    assert layers_of(words, "conv") == (1, 4)
    assert layers_of(layer_words(3, (), "mamba", "attention"), "attention") == (0, 1, 2)
