"""Tensors and caches of one layer of 4 query heads and 2 key/value heads of 3 numbers, hidden size 8."""

from typing import Any

import pytest

from llmkit.estimate.families.attention import Attention, AttentionRule, HeadNorm, fused, separate
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import every, no_window

SIZES = Sizes(hidden_size=8, vocab_size=50, layers=4, heads=4, kv_heads=2, head_dim=3, max_positions=64)


def read(rule: AttentionRule, **config: Any) -> Attention:
    return rule(Keys(config, "config.json"), SIZES)


def written(attention: Attention) -> dict[str, tuple[int, ...]]:
    """Names, without `self_attn.`, and shapes of the first layer."""
    sheet = Sheet()
    attention.write(sheet, 0)
    return {tensor.name.removeprefix("self_attn."): tensor.shape for tensor in sheet.tensors}


def test_keys_and_values_have_as_many_rows_as_their_heads_have_numbers() -> None:
    assert written(read(separate())) == {
        "q_proj.weight": (12, 8),
        "k_proj.weight": (6, 8),
        "v_proj.weight": (6, 8),
        "o_proj.weight": (8, 12),
    }


def test_one_matrix_for_all_three_has_the_rows_of_all_three() -> None:
    found = written(read(fused(no_window)))
    assert found == {"qkv_proj.weight": (12 + 6 + 6, 8), "o_proj.weight": (8, 12)}


def test_biases_follow_the_key_of_the_family() -> None:
    rule = separate(qkv_bias="attention_bias", output_bias=("out_bias", True))
    assert [name for name in written(read(rule)) if "bias" in name] == ["o_proj.bias"]
    found = written(read(rule, attention_bias=True, out_bias=False))
    assert {name: shape for name, shape in found.items() if "bias" in name} == {
        "q_proj.bias": (12,),
        "k_proj.bias": (6,),
        "v_proj.bias": (6,),
    }


@pytest.mark.parametrize(
    ("form", "norms"),
    [
        (None, {}),
        ("head", {"q_norm.weight": (3,), "k_norm.weight": (3,)}),  # Qwen3
        ("width", {"q_norm.weight": (12,), "k_norm.weight": (6,)}),  # OLMo 2
        ("stack", {"q_norm.weight": (4, 3), "k_norm.weight": (2, 3)}),  # Command R+
        ("each", {"q_norm.norms.*.weight": (3,), "k_norm.norms.*.weight": (3,)}),  # StableLM
    ],
)
def test_norms_of_queries_and_keys_span_what_their_form_says(
    form: HeadNorm | None, norms: dict[str, tuple[int, ...]]
) -> None:
    found = written(read(separate(head_norm=form)))
    assert {name: shape for name, shape in found.items() if "norm" in name} == norms


def test_a_norm_for_each_head_is_there_as_often_as_there_are_heads() -> None:
    sheet = Sheet()
    read(separate(head_norm="each")).write(sheet, 0)
    assert [tensor.copies for tensor in sheet.tensors if tensor.part == "norms"] == [4, 2]


def test_norms_can_be_switched_by_a_key_and_named_otherwise() -> None:
    rule = separate(
        head_norm="head",
        head_norm_switch="qk_layernorm",
        head_norm_names=("q_layernorm", "k_layernorm"),
        head_norm_bias=True,
    )
    assert not any("norm" in name for name in written(read(rule)))
    assert "q_layernorm.bias" in written(read(rule, qk_layernorm=True))


def test_there_is_one_sink_for_each_query_head() -> None:
    assert written(read(separate(sinks=True)))["sinks"] == (4,)


def test_every_layer_keeps_the_keys_and_values_of_its_two_heads_as_far_back_as_the_rule_says() -> None:
    caches = read(separate(kinds=every(2, 16))).caches
    assert [(cache.kind, cache.window) for cache in caches] == [("sliding", 16), ("full", 0)] * 2
    assert {(cache.kv_heads, cache.key_dim, cache.value_dim, cache.query_heads) for cache in caches} == {
        (2, 3, 3, 4)
    }
