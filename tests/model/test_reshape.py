"""Shapes with some sizes changed: what follows, what stays, and that presets agree."""

from dataclasses import replace

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS, preset
from llmkit.model.reshape import EXPERT_FIELDS, _continued, field_of, reshape
from tests.model.recurrent.conftest import FIELDS, MAMBA, hybrid

MULTI_HEAD = ModelConfig(
    vocab_size=10, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4
)
GROUPED = PRESETS["qwen3-0.6b"]  # heads of 128 that do not share hidden_size, in groups of two


def test_nothing_changed_is_the_same() -> None:
    for config in PRESETS.values():
        assert reshape(config, {}) == config


def test_heads_that_share_the_width_go_on_sharing_it() -> None:
    assert reshape(MULTI_HEAD, {"hidden_size": 128}).head_dim == 32
    changed = reshape(MULTI_HEAD, {"num_attention_heads": 8})
    assert (changed.head_dim, changed.num_key_value_heads) == (8, 8)


def test_what_is_given_is_not_worked_out() -> None:
    changed = reshape(MULTI_HEAD, {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 24})
    assert (changed.head_dim, changed.num_key_value_heads) == (24, 2)


def test_groups_and_heads_of_their_own_width_stay() -> None:
    changed = reshape(GROUPED, {"num_attention_heads": 32, "hidden_size": 2048})
    assert (changed.head_dim, changed.num_key_value_heads) == (128, 8)


@pytest.mark.parametrize(
    "overrides",
    [{"num_hidden_layers": 3}, {"num_attention_heads": 2, "num_key_value_heads": 2}, {"vocab_size": 7}],
)
def test_a_preset_is_changed_alike(overrides: dict[str, int]) -> None:
    for name in ("tiny", "llama-3.2-1b", "llama-2-7b"):
        assert reshape(PRESETS[name], overrides) == preset(name, **overrides)


def test_an_unknown_field_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'hiden_size'") as caught:
        reshape(MULTI_HEAD, {"hiden_size": 3})
    assert caught.value.hint == "did you mean hidden_size?"


def test_an_impossible_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_attention_heads \(4\) is not a multiple"):
        reshape(MULTI_HEAD, {"num_key_value_heads": 3})


@pytest.mark.parametrize("key", ["num_key_value_heads", "head_dim"])
def test_heads_of_nothing_are_refused_and_not_taken_for_heads_not_given(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is not a whole number of at least 1"):
        reshape(MULTI_HEAD, {key: 0})


@pytest.mark.parametrize(
    ("layers", "count", "wanted", "expected"),
    [
        ((), 4, 6, ()),
        ((0, 1, 2), 3, 5, (0, 1, 2, 3, 4)),
        ((1, 2, 3), 4, 6, (1, 2, 3, 4, 5)),  # dense layers come first
        ((1, 2, 3), 4, 1, ()),
        ((0, 2), 4, 7, (0, 2, 4, 6)),
        ((0, 1, 3, 4), 6, 9, (0, 1, 3, 4, 6, 7)),  # every third is another
        ((0, 1, 2, 3, 4, 6, 7, 8, 9, 10), 12, 8, (0, 1, 2, 3, 4, 6, 7)),
    ],
)
def test_kinds_of_layers_are_cut_off_or_go_on(
    layers: tuple[int, ...], count: int, wanted: int, expected: tuple[int, ...]
) -> None:
    assert _continued(layers, count, wanted) == expected


def test_a_mixture_of_more_layers_has_experts_in_them() -> None:
    for name, first in (("tiny-moe", 0), ("tiny-moe-free", 1)):
        experts = reshape(PRESETS[name], {"num_hidden_layers": 7}).experts
        assert experts is not None and experts.layers == tuple(range(first, 7))


@pytest.mark.parametrize("family", [name for name in FIELDS if name not in ("falcon_h1", "nemotron_h")])
def test_layers_that_keep_a_state_are_cut_off_or_go_on(family: str) -> None:
    config = hybrid(family).config
    assert reshape(config, {"num_hidden_layers": 6}).state_layers == (0, 2, 4)
    assert reshape(config, {"num_hidden_layers": 1}).state_layers == (0,)


def test_layers_of_one_branch_go_on_together() -> None:
    config = hybrid("nemotron_h").config  # M - M * -
    more = reshape(config, {"num_hidden_layers": 9})
    assert (more.state_layers, more.lone_mlps) == ((0, 2, 5, 7), (1, 4, 6))
    less = reshape(config, {"num_hidden_layers": 2})
    assert (less.state_layers, less.lone_mlps) == ((0,), (1,))


def test_experts_of_one_branch_go_on_with_the_others() -> None:
    config = ModelConfig.from_hf({"model_type": "nemotron_h", "hybrid_override_pattern": "M*EM-EM-EM-E"})
    more = reshape(config, {"num_hidden_layers": 15})
    assert more.experts is not None and more.experts.layers == (2, 5, 8, 11, 14)
    assert more.state_layers == (0, 3, 6, 9, 12)
    assert more.lone_mlps == (2, 4, 5, 7, 8, 10, 11, 13, 14)
    assert reshape(config, {"num_hidden_layers": 2}).experts is None


def test_mamba_2_stays_as_many_times_as_wide_as_the_model() -> None:
    config = hybrid("granitemoehybrid").config  # 4 heads of 16 in 2 groups, for 32
    for width, heads, head_dim in ((64, 8, 16), (16, 2, 16), (24, 4, 12)):
        mamba = reshape(config, {"hidden_size": width, "num_hidden_layers": 2}).mamba
        assert mamba is not None and mamba.layers == (0,)
        assert (mamba.num_heads, mamba.head_dim, mamba.width) == (heads, head_dim, 2 * width)


def test_a_model_cut_to_its_layers_of_attention_has_no_mamba_2() -> None:
    config = hybrid("granitemoehybrid", mamba=replace(MAMBA, layers=(1, 2))).config
    assert reshape(config, {"num_hidden_layers": 1}).mamba is None


def test_rotary_numbers_are_the_same_share_of_other_heads() -> None:
    half = ModelConfig.from_hf(
        {"model_type": "gpt_neox", "vocab_size": 10, "hidden_size": 64, "intermediate_size": 96}
        | {"num_hidden_layers": 2, "num_attention_heads": 4, "rotary_pct": 0.5, "max_position_embeddings": 64}
    )
    assert (half.rotary_dim, half.head_dim) == (8, 16)
    assert reshape(half, {"hidden_size": 128}).rotary_dim == 16
    assert reshape(MULTI_HEAD, {"num_attention_heads": 8}).rotary_dim == 8
    assert reshape(GROUPED, {"head_dim": 64}).rotary_dim == 64


def test_experts_change_by_the_names_of_config_json_and_shared_ones_with_them() -> None:
    base = PRESETS["tiny-moe-free"].experts  # 8 of 112, 2 used, one more of 112 that is shared
    changes = {
        "num_experts": 6,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 40,
        "num_hidden_layers": 6,
    }
    experts = reshape(PRESETS["tiny-moe-free"], changes).experts
    assert base is not None and experts is not None
    assert (experts.num_experts, experts.num_experts_per_tok) == (6, 3)
    assert (experts.intermediate_size, experts.shared_intermediate_size) == (40, 40)
    assert experts.layers == (1, 2, 3, 4, 5)
    fewer = reshape(PRESETS["tiny-moe-free"], {"num_experts": 6})
    assert fewer.experts is not None and fewer.experts.intermediate_size == base.intermediate_size
    assert [field_of(fewer, key) for key in EXPERT_FIELDS] == [6, 2, 112]
    assert field_of(fewer, "hidden_size") == 128 and field_of(MULTI_HEAD, "num_experts") is None


def test_a_dense_model_gets_no_experts_by_their_number() -> None:
    with pytest.raises(ConfigError, match="num_experts 4: the model has no experts") as refused:
        reshape(MULTI_HEAD, {"num_experts": 4})
    assert "--preset tiny-moe" in refused.value.hint
    mixture = preset("tiny-moe", model_type="qwen3_moe", num_experts=6).experts  # what the hint sends to
    assert mixture is not None and mixture.num_experts == 6


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "olmo2", "smollm3"])
def test_a_preset_becomes_a_model_of_another_family(family: str) -> None:
    model = preset("tiny", model_type=family)
    assert ModelConfig.from_hf(model.to_hf()) == model
    back = reshape(model, {"model_type": "qwen3"})
    assert back.qk_norm == "head" and back.norm_placement == "before"
