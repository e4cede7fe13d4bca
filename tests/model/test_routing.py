"""The tape: losses against transformers' and by hand, counts against a slow loop."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.router import Router
from llmkit.model.routing import RoutingTape, balance_slope

N, K, D = 6, 2, 4


def _router(seed: int, **experts: Any) -> Router:
    sizes = {"num_experts": N, "num_experts_per_tok": K, "intermediate_size": 1, "layers": (0,)}
    config: Any = SimpleNamespace(hidden_size=D, experts=ExpertsConfig(**{**sizes, **experts}))
    router = Router(config)
    router.weight.data.normal_(0, 2, generator=torch.Generator().manual_seed(seed))
    return router


def _tape(routers: list[Router], passes: int = 1, counted: Tensor | None = None) -> RoutingTape:
    tape = RoutingTape(counted)
    for number in range(passes):
        x = torch.randn(10, D, generator=torch.Generator().manual_seed(number))
        for router in routers:
            tape.record(router, router(x))
    return tape


def _balance_loss(tape: RoutingTape) -> Tensor:
    return (balance_slope(tape.totals()) * tape.sums()[0]).sum()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_balance_loss_is_transformers_with_its_gradient(layers: int, masked: bool) -> None:
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    routers = [_router(seed) for seed in range(layers)]
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]]) if masked else None
    ours = _balance_loss(_tape(routers, counted=None if mask is None else mask.bool()))
    logits = tuple(one.logits for router in routers for one in _tape(routers).routes[router])
    theirs = load_balancing_loss_func(logits, N, K, mask)
    assert isinstance(theirs, Tensor)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    weights = [router.weight for router in routers]
    for one, other in zip(
        torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True
    ):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_balance_loss_is_k_where_all_are_used_alike_and_n_where_one_is() -> None:
    even, one = _router(0, num_experts=4), _router(0, num_experts=4, num_experts_per_tok=1)
    even.weight.data = torch.eye(4)
    one.weight.data = torch.tensor([[100.0], [0], [0], [0]]).expand(4, 4)
    tape = RoutingTape()
    tape.record(even, even(torch.eye(4) + torch.eye(4).roll(1, 1)))
    assert _balance_loss(tape).item() == pytest.approx(2)
    tape = RoutingTape()
    tape.record(one, one(torch.eye(4)))
    assert _balance_loss(tape).item() == pytest.approx(4)


def test_squares_of_log_sum_exp_are_summed_over_tokens_and_layers() -> None:
    routers = [_router(seed) for seed in range(2)]
    tape = _tape(routers, passes=2)
    squares = [
        math.log(sum(math.exp(logit) for logit in token)) ** 2
        for passes in tape.routes.values()
        for one in passes
        for token in one.logits.tolist()
    ]
    assert len(squares) == 2 * 2 * 10
    assert tape.sums()[1].item() == pytest.approx(sum(squares), rel=1e-6)


def test_counts_are_those_of_a_slow_loop_layer_by_layer() -> None:
    routers = [_router(0), _router(1, scoring="sigmoid", selection_bias=True, num_groups=3, topk_groups=2)]
    tape = _tape(routers, passes=3)
    slow = {router: [0] * N for router in routers}
    for number in range(3):
        x = torch.randn(10, D, generator=torch.Generator().manual_seed(number))
        for router in routers:
            for token in x:
                for expert in router(token[None]).chosen[0].tolist():
                    slow[router][expert] += 1
    counts = tape.expert_counts()
    assert {router: one.tolist() for router, one in counts.items()} == slow
    assert list(counts) == routers  # in the order of the layers
    assert all(one.sum() == 3 * 10 * K for one in counts.values())


def test_padding_counts_nowhere() -> None:
    routers = [_router(0)]
    some = torch.arange(10) < 7
    part, whole = _tape(routers, counted=some), _tape(routers)
    first = RoutingTape()
    first.record(routers[0], routers[0](torch.randn(10, D, generator=torch.Generator().manual_seed(0))[:7]))
    assert _balance_loss(part) != _balance_loss(whole)
    for one, other in zip(part.sums(), first.sums(), strict=True):
        torch.testing.assert_close(one, other)
    assert part.expert_counts()[routers[0]].sum() == 7 * K


def test_a_tape_without_a_pass_has_no_sums_and_one_without_tokens_has_noughts() -> None:
    with pytest.raises(ValueError, match="no token was routed"):
        RoutingTape().sums()
    with pytest.raises(ValueError, match="no token was routed"):
        RoutingTape().totals()
    empty = _tape([_router(0)], counted=torch.zeros(10, dtype=torch.bool))
    assert _balance_loss(empty) == 0 and empty.sums()[1] == 0 and not empty.totals().any()
