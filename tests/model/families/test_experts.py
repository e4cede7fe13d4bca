"""The keys of mixtures of experts, there and back."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.experts import DeepSeekExperts, EveryLayer, QwenExperts
from llmkit.model.families.parts import Part
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
FOUND: dict[str, Any] = {"num_hidden_layers": 4, "intermediate_size": 48, "model_type": "some"}
QWEN = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 6}
ROUTED = {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 6}
V2 = DeepSeekExperts(2, 0, 2, 1.0, False)
V3 = DeepSeekExperts(3, 3, 1, 2.5, True, groups=8, topk_groups=4)
CASES: list[tuple[Part, dict[str, Any], dict[str, Any]]] = [
    (
        EveryLayer(True, 0.001),
        {"num_local_experts": 8, "num_experts_per_tok": 2},
        {"intermediate_size": 48, "layers": (0, 1, 2, 3), "norm_topk_prob": True, "expert_bias": False},
    ),
    (
        EveryLayer(None, 0.01),
        {"num_experts": 8, "num_experts_per_tok": 2, "norm_topk_prob": True, "router_aux_loss_coef": 0.5},
        {"norm_topk_prob": True, "router_aux_loss_coef": 0.5},
    ),
    (
        EveryLayer(True, 0.001, gpt_oss=True),
        {"num_local_experts": 8, "num_experts_per_tok": 2, "swiglu_limit": 5.0},
        {"swiglu_limit": 5.0, "router_bias": True, "expert_bias": True},
    ),
    (QwenExperts(False), {**QWEN, "mlp_only_layers": [1]}, {"layers": (0, 2, 3), "intermediate_size": 6}),
    (
        QwenExperts(True),
        {**QWEN, "decoder_sparse_step": 2, "shared_expert_intermediate_size": 7},
        {"layers": (1, 3), "shared_intermediate_size": 7, "shared_gate": True},
    ),
    (V2, {**ROUTED, "n_group": 4, "topk_group": 2}, {"num_groups": 1, "shared_intermediate_size": 12}),
    (
        V2,
        {**ROUTED, "n_group": 4, "topk_group": 2, "topk_method": "group_limited_greedy"},
        {"num_groups": 4, "topk_groups": 2, "group_score": "best", "scoring": "softmax"},
    ),
    (
        V3,
        {**ROUTED, "first_k_dense_replace": 1, "n_shared_experts": None, "router_z_loss_coef": 0.1},
        {"layers": (1, 2, 3), "num_groups": 8, "topk_groups": 4, "shared_intermediate_size": 0}
        | {"routed_scaling_factor": 2.5, "selection_bias": True, "router_z_loss_coef": 0.1},
    ),
    (V3, {**ROUTED, "routed_scaling_factor": 0.0}, {"routed_scaling_factor": 0.0}),
]


@pytest.mark.parametrize(("part", "config", "expected"), CASES)
def test_experts_are_read_and_written_so_that_they_are_read_again(
    part: Part, config: dict[str, Any], expected: dict[str, Any], keys: MakeKeys
) -> None:
    found = part.read(keys(**config), FOUND)
    experts = found["experts"]
    assert (experts.num_experts, experts.num_experts_per_tok) == (8, 2)
    assert {name: getattr(experts, name) for name in expected} == expected
    assert part.read(keys(**part.write({**FOUND, **found})), FOUND) == found


@pytest.mark.parametrize(
    ("part", "config", "named"),
    [
        (V3, {**ROUTED, "scoring_func": "softmax"}, "scoring_func is not sigmoid"),
        (V2, {**ROUTED, "topk_method": "noaux_tc"}, "topk_method is not greedy or group_limited_greedy"),
        (V2, {**ROUTED, "moe_layer_freq": 2}, "moe_layer_freq is not 1"),
        (QwenExperts(True), QWEN, "no 'shared_expert_intermediate_size'"),
        (EveryLayer(True, 0.1), {"num_local_experts": 2, "num_experts_per_tok": 3}, "num_experts_per_tok"),
        (EveryLayer(True, 0.1, gpt_oss=True), {"swiglu_alpha": 1.0}, "swiglu_alpha is not 1.702"),
    ],
)
def test_experts_that_are_not_supported_are_refused_by_the_keys_name(
    part: Part, config: dict[str, Any], named: str, keys: MakeKeys
) -> None:
    with pytest.raises(ConfigError, match=named):
        part.read(keys(**config), FOUND)


@pytest.mark.parametrize("part", [EveryLayer(True, 0.1), QwenExperts(False), V3])
def test_a_model_without_experts_is_none_of_these(part: Part) -> None:
    with pytest.raises(ConfigError, match=r"a some model has experts .found none."):
        part.write({**FOUND, "experts": None})
