"""The router by hand: scores, groups, the bias that only chooses, and what stays float32."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.router import Router

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.5, 0.5]])


def _router(logits: Tensor = LOGITS, k: int = 2, **experts: Any) -> Router:
    """One that gives these logits for the unit vectors, row by row."""
    M, N = logits.shape
    sizes = {"num_experts": N, "num_experts_per_tok": k, "intermediate_size": 1, "layers": (0,)}
    config: Any = SimpleNamespace(hidden_size=M, experts=ExpertsConfig(**{**sizes, **experts}))
    router = Router(config)
    router.load_state_dict({**router.state_dict(), "weight": logits.T})
    return router


def _bias(router: Router, *values: float) -> Router:
    assert router.e_score_correction_bias is not None
    router.e_score_correction_bias.copy_(torch.tensor(values))
    return router


def _by_expert(router: Router) -> dict[int, float]:
    """Of the first token: the experts it chose, and their weights."""
    routes = router(torch.eye(router.weight.shape[1]))
    return dict(zip(routes.chosen[0].tolist(), routes.weights[0].tolist(), strict=True))


def test_softmax_weights_are_shares_of_all_experts() -> None:
    shares = LOGITS[0].exp() / LOGITS[0].exp().sum()
    assert _by_expert(_router()) == pytest.approx({0: shares[0].item(), 4: shares[4].item()})


def test_normalised_weights_are_the_softmax_of_the_chosen_logits() -> None:
    best = torch.tensor([2.0, 1.5]).softmax(0)  # as gpt-oss says it
    assert _by_expert(_router(norm_topk_prob=True)) == pytest.approx({0: best[0].item(), 4: best[1].item()})


def test_sigmoid_weights_do_not_depend_on_other_experts() -> None:
    weights = torch.tensor([2.0, 1.5]).sigmoid()
    expected = {0: weights[0].item(), 4: weights[1].item()}
    assert _by_expert(_router(scoring="sigmoid")) == pytest.approx(expected)
    scaled = {expert: 2.5 * weight / weights.sum().item() for expert, weight in expected.items()}
    router = _router(scoring="sigmoid", norm_topk_prob=True, routed_scaling_factor=2.5)
    assert _by_expert(router) == pytest.approx(scaled)


def test_llama_4_chooses_by_logits_that_are_one_behind_the_sigmoid() -> None:
    router = _router(torch.tensor([[30.0, 20.0, 40.0, 1.0]]), scoring="sigmoid", weighs_inputs=True)
    assert _by_expert(router) == {2: 1.0, 0: 1.0}


def test_sigmoids_of_nought_give_weights_of_nought() -> None:
    router = _router(torch.full((1, 4), -200.0), scoring="sigmoid", norm_topk_prob=True)
    assert set(_by_expert(router).values()) == {0.0}


def test_the_selection_bias_chooses_and_weighs_nothing() -> None:
    router = _bias(_router(scoring="sigmoid", selection_bias=True), -1, 0, 0, 1, 0, 0)
    assert _by_expert(router) == pytest.approx(
        {3: torch.tensor(-1.0).sigmoid().item(), 4: torch.tensor(1.5).sigmoid().item()}
    )


def test_the_linear_bias_counts_for_both() -> None:
    router = _router(router_bias=True, norm_topk_prob=True)
    assert router.bias is not None
    router.bias.data = torch.tensor([0.0, 0, 0, 3.0, 0, 0])
    assert _by_expert(router) == pytest.approx({0: 0.5, 3: 0.5})  # both 2 now


def test_a_group_is_worth_its_best_or_the_sum_of_its_two_best() -> None:
    # groups of two: (2, 1), (0, -1), (1.5, 1.4); by their best the first wins, by two the third
    logits = torch.tensor([[2.0, -3.0, 0.0, -1.0, 1.5, 1.4]])
    groups = {"num_groups": 3, "topk_groups": 1, "scoring": "sigmoid"}
    assert set(_by_expert(_router(logits, group_score="best", **groups))) == {0, 1}
    assert set(_by_expert(_router(logits, group_score="best_two", **groups))) == {4, 5}
    assert set(_by_expert(_router(logits, **groups | {"topk_groups": 2}))) == {0, 4}


def test_experts_outside_the_groups_stay_out_however_low_the_others_are() -> None:
    logits = torch.tensor([[9.0, -300.0, 8.0, 7.0]])
    router = _router(logits, num_groups=2, scoring="softmax")
    assert set(_by_expert(router)) == {0, 1}  # not 0 and 2, though the softmax of 1 is nought
    low = _bias(_router(logits, num_groups=2, scoring="sigmoid", selection_bias=True), 0, -50, -60, -60)
    assert set(_by_expert(low)) == {0, 1}


def test_the_selection_bias_stays_float32_when_the_model_does_not() -> None:
    router = _bias(_router(scoring="sigmoid", selection_bias=True), 0.001, 1.001, 0, 0, 0, 0).bfloat16()
    assert router.weight.dtype == torch.bfloat16
    assert router.e_score_correction_bias is not None
    assert router.e_score_correction_bias.dtype == torch.float32
    assert router.e_score_correction_bias[1] == torch.tensor(1.001)
    assert "e_score_correction_bias" in router.state_dict()
    with torch.device("meta"):
        empty = _empty().bfloat16().to_empty(device="cpu")
    assert empty.e_score_correction_bias is not None
    assert empty.e_score_correction_bias.device.type == "cpu"


def _empty() -> Router:
    experts = ExpertsConfig(
        num_experts=4, num_experts_per_tok=2, intermediate_size=1, layers=(0,), selection_bias=True
    )
    config: Any = SimpleNamespace(hidden_size=3, experts=experts)
    return Router(config)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_scores_are_float32_or_wider(dtype: torch.dtype) -> None:
    router, x = _router(scoring="sigmoid").to(dtype), torch.eye(1, dtype=dtype)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert (router(x).logits.dtype, router(x).weights.dtype) == (expected, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert router(x).logits.dtype == expected


def test_the_choice_carries_no_gradient_and_the_weights_do() -> None:
    router = _bias(_router(scoring="sigmoid", selection_bias=True, norm_topk_prob=True), 0, 0, 0, 0, 0, 0)
    (routes := router(torch.eye(1))).weights[0, 0].backward()
    gradient = router.weight.grad
    assert gradient is not None
    assert set(gradient.flatten().nonzero().flatten().tolist()) == set(routes.chosen[0].tolist())
