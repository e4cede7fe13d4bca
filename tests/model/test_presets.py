"""Presets: transformers opens each with our logits, and ours climb from size to size."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.model.config import ModelConfig
from llmkit.model.load import load_model
from llmkit.model.presets import PRESETS, preset
from llmkit.model.save import save_model

LADDER = ("tiny", "small", "medium", "base", "large", "xl")


def _parameters(config: ModelConfig) -> int:
    return sum(math.prod(shape) for shape in tensor_shapes(config).values())


def _affordable(config: ModelConfig) -> ModelConfig:
    """A preset beyond 20M with heads of 8 and its widths in proportion, two layers and few words."""
    if _parameters(config) < 20e6:
        return config
    part = config.head_dim // 8
    return replace(
        config,
        head_dim=8,
        rotary_dim=0,  # all of a head
        hidden_size=config.hidden_size // part,
        intermediate_size=config.intermediate_size // part,
        num_hidden_layers=2,
        vocab_size=512,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_transformers_has_the_logits_of_every_preset_and_reads_and_writes_its_folder(
    name: str,
    tmp_path: Path,
    make_model: Callable[..., Any],
    open_theirs: Callable[..., Any],
    logit_gap: Callable[..., float],
) -> None:
    config = _affordable(PRESETS[name])
    assert config.num_attention_heads == PRESETS[name].num_attention_heads
    ours = make_model(config, std=0.05)
    save_model(ours, tmp_path)
    theirs = open_theirs(tmp_path)
    assert logit_gap(ours, theirs) <= 1e-4
    theirs.save_pretrained(tmp_path / "theirs")
    assert logit_gap(load_model(tmp_path / "theirs"), theirs) <= 1e-4


def test_the_ladder_climbs_from_a_million_to_a_billion() -> None:
    counts = [_parameters(PRESETS[name]) for name in LADDER]
    assert counts == sorted(counts)
    assert 1e6 < counts[0] < 2e6
    assert 0.9e9 < counts[-1] < 1.2e9
    # tiny: embedding, then 4 layers of q, k and v, o, gate and up and down, two norms and two head norms
    layer = 128 * 128 + 2 * 128 * 64 + 128 * 128 + 3 * 128 * 352 + 2 * 128 + 2 * 32
    assert counts[0] == 4096 * 128 + 4 * layer + 128


@pytest.mark.parametrize("name", LADDER)
def test_a_rung_has_an_mlp_of_eight_thirds_and_heads_of_common_sizes(name: str) -> None:
    config = PRESETS[name]
    assert 0 <= config.intermediate_size - config.hidden_size * 8 / 3 < 32
    assert config.intermediate_size % 32 == 0
    assert config.head_dim in (32, 64, 128)
    assert config.num_key_value_heads < config.num_attention_heads


def test_what_a_preset_derives_follows_the_sizes_that_are_given() -> None:
    changed = preset("stories15m", hidden_size=32, num_attention_heads=4)  # 288 wide, 768 inside, 6 heads
    assert (changed.head_dim, changed.num_key_value_heads) == (8, 4)
    assert changed.intermediate_size == 86  # 768 * 32 / 288 = 85.3
    assert changed.tie_word_embeddings


def test_groups_and_wide_heads_stay_and_what_is_given_wins() -> None:
    changed = preset("qwen3-0.6b", hidden_size=512, num_attention_heads=32, intermediate_size=1000)
    assert (changed.head_dim, changed.num_key_value_heads) == (128, 8)  # heads wider than their share
    assert changed.intermediate_size == 1000
    assert preset("tiny") == PRESETS["tiny"]


def test_an_unknown_preset_or_field_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="no preset named 'tinny'") as caught:
        preset("tinny")
    assert caught.value.hint == "did you mean tiny?"
    with pytest.raises(ConfigError, match="no field 'hiden_size'") as caught:
        preset("tiny", hiden_size=64)
    assert caught.value.hint == "did you mean hidden_size?"


def test_a_token_uses_of_a_mixture_what_it_uses_of_the_rung_without() -> None:
    for name, k in (("tiny", 2), ("small", 4)):
        experts, dense = PRESETS[f"{name}-moe"].experts, PRESETS[name]
        assert experts is not None
        assert experts.num_experts_per_tok == k
        assert k * experts.intermediate_size == dense.intermediate_size
        assert experts.router_aux_loss_coef == 0.001
    free = PRESETS["tiny-moe-free"].experts
    assert free is not None
    assert free.selection_bias and not free.router_aux_loss_coef
    used = 2 * free.intermediate_size + free.shared_intermediate_size
    assert 0.9 < used / PRESETS["tiny"].intermediate_size <= 1


def test_experts_are_as_much_narrower_as_the_model() -> None:
    for name, width, shared in (("tiny-moe", 88, 0), ("tiny-moe-free", 56, 56)):
        experts = preset(name, hidden_size=64, num_hidden_layers=2).experts  # half of 176 and of 112
        assert experts is not None
        assert (experts.intermediate_size, experts.shared_intermediate_size) == (width, shared)
    odd = preset("tiny-moe", hidden_size=48, num_hidden_layers=2).experts  # 66: no rows of 16 bytes
    assert odd is not None and odd.intermediate_size == 72


def test_a_part_that_a_family_has_otherwise_is_told_by_the_field_of_it() -> None:
    with pytest.raises(
        ConfigError, match=r"^a mixtral model has experts\.intermediate_size 352 \(found 176\)$"
    ):
        preset("tiny-moe", model_type="mixtral", vocab_size=64)
    with pytest.raises(ConfigError, match=r"^a qwen2_moe model: shared_expert_intermediate_size") as error:
        preset("tiny-moe", model_type="qwen2_moe", vocab_size=64)  # no file has this key: it names none
    assert "original config.json" not in error.value.hint and "model_type" in error.value.hint
