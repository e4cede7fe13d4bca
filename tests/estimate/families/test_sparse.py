"""What tells one family with experts from another: numbers worked out by hand on one small shape."""

from typing import Any

import pytest

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.form import read_form
from llmkit.estimate.families.sparse import FORMS
from llmkit.model.keys import Keys

FILE = {
    **{"vocab_size": 50, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 4},
    **{"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
}
OF_TWO = {"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1}
ROUTED = {"n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 5}


def read(family: str, **change: Any) -> Architecture:
    return read_form(FORMS[family], Keys({**FILE, **change}, "config.json"), "")


@pytest.mark.parametrize(
    ("family", "change", "experts", "rest"),
    [
        # experts: 3 matrices of 8 x width in each of 2, in so many layers; rest: of the MLP without experts
        ("mixtral", OF_TWO, 4 * 2 * 3 * 8 * 12, 0),
        ("olmoe", OF_TWO, 4 * 2 * 3 * 8 * 12, 0),
        ("qwen3_moe", {**OF_TWO, "moe_intermediate_size": 5}, 4 * 2 * 3 * 8 * 5, 0),
        ("gpt_oss", OF_TWO, 4 * 2 * (3 * 8 * 12 + 2 * 12 + 8), 0),  # with biases
        ("dots1", {**ROUTED, "n_shared_experts": 3}, 4 * 2 * 3 * 8 * 5, 4 * 3 * 8 * 15),
        ("glm4_moe", ROUTED, 3 * 2 * 3 * 8 * 5, 3 * 8 * 12 + 3 * 3 * 8 * 5),  # the first layer is dense
        ("deepseek_v3", ROUTED, 2 * 3 * 8 * 5, 3 * 3 * 8 * 12 + 3 * 8 * 5),  # the first three are
    ],
)
def test_a_family_has_its_experts_and_what_is_beside_them(
    family: str, change: dict[str, Any], experts: int, rest: int
) -> None:
    parts = read(family, **change).by_part
    assert (parts["experts"], parts.get("mlp", 0)) == (experts, rest)


@pytest.mark.parametrize(
    ("family", "change", "kinds"),
    [
        ("mixtral", OF_TWO, "ffff"),
        ("mixtral", {**OF_TWO, "sliding_window": 3}, "ssss"),
        ("gpt_oss", OF_TWO, "sfsf"),
        ("dots1", ROUTED, "ffff"),  # the 62nd layer would be the first to slide
        ("dots1", {**ROUTED, "max_window_layers": 3}, "fffs"),
        ("glm4_moe", ROUTED, "ffff"),
        ("deepseek_v3", ROUTED, "llll"),
        ("llama4_text", {**OF_TWO, "intermediate_size_mlp": 12}, "cccf"),
    ],
)
def test_a_family_has_its_own_windows(family: str, change: dict[str, Any], kinds: str) -> None:
    assert "".join(cache.kind[0] for cache in read(family, **change).caches) == kinds


def test_a_sink_for_each_head_is_gpt_oss_alone() -> None:
    sinks = read("gpt_oss", **OF_TWO)
    assert sum(tensor.numel for tensor in sinks.tensors if tensor.module == "sinks") == 4 * 2
    assert not any(tensor.module == "sinks" for tensor in read("mixtral", **OF_TWO).tensors)
