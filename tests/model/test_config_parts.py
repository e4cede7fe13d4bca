"""A mixture of experts and a latent that are impossible are refused by name."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config_parts import ExpertsConfig, LatentConfig

EXPERTS: dict[str, Any] = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "intermediate_size": 6,
    "layers": (0, 1),
}
LATENT: dict[str, Any] = {"kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 4}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_experts": 0}, "num_experts is not a whole number of at least 1 .found 0."),
        ({"num_experts_per_tok": 1.5}, "num_experts_per_tok is not a whole number"),
        ({"intermediate_size": -1}, "intermediate_size is not a whole number"),
        ({"num_groups": 0}, "num_groups is not a whole number"),
        ({"topk_groups": None}, "topk_groups is not a whole number"),
        ({"num_experts_per_tok": 9}, r"num_experts_per_tok \(9\) is more than num_experts \(8\)"),
        ({"num_groups": 3}, r"num_experts \(8\) is not a multiple of the groups \(3\)"),
        ({"num_groups": 2, "topk_groups": 3}, "3 of 2 groups hold 12 experts, and a token uses 2"),
        ({"num_groups": 8, "topk_groups": 1}, "1 of 8 groups hold 1 experts, and a token uses 2"),
    ],
)
def test_experts_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    ExpertsConfig(**EXPERTS)
    with pytest.raises(ConfigError, match=words):
        ExpertsConfig(**EXPERTS | changes)


def test_as_many_experts_as_a_tokens_groups_hold_are_enough() -> None:
    ExpertsConfig(**EXPERTS | {"num_groups": 8, "topk_groups": 2})


@pytest.mark.parametrize("name", LATENT)
def test_a_latent_without_numbers_is_refused(name: str) -> None:
    assert LatentConfig(**LATENT).q_lora_rank == 0
    with pytest.raises(ConfigError, match=f"{name} is not a whole number of at least 1"):
        LatentConfig(**LATENT | {name: 0})
