"""Stages whose routers are evened out together: counts go forwards, their sum comes back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from runs import EXPERTS, Outcome, Run, assert_same, config_of, run_on, runs_on

from llmkit.model.router import Router
from llmkit.model.routing import RoutingTape
from llmkit.train.balance import Balancer
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.ranks import ALONE
from llmkit.train.parallel.stage_routing import StageRouting, told_back

LOSSES = EXPERTS["router losses"]
BESIDE = {
    "replicas": Degrees(pp=2, dp=2),
    "shards": Degrees(pp=2, fsdp=2),
    "cut matrices": Degrees(pp=2, tp=2),
    "spread experts": Degrees(pp=2, ep=2),
}


def _balanced(stages: int) -> tuple[float, list[torch.Tensor]]:
    """The balance loss and each router's gradient, with the routers one after the other or a stage each."""
    config = config_of(LOSSES)
    assert config.experts is not None
    torch.manual_seed(0)
    routers = [Router(config) for _ in config.experts.layers]
    recipe: Any = SimpleNamespace(router_aux_loss_coef=0.5, router_z_loss_coef=0.25, router_bias_update=None)
    real = torch.arange(12) < 9
    balancer = Balancer(recipe, config.experts)
    balancer.begin(9)
    x = torch.randn(12, config.hidden_size)
    if stages == 1:
        tape = RoutingTape(real)
        for router in routers:
            tape.record(router, router(x))
        balancer.add(tape).backward()
    else:
        routings = [StageRouting(balancer, config.experts.num_experts, ALONE) for _ in routers]
        counts = routings[0].no_counts(x)
        for router, routing in zip(routers, routings, strict=True):
            tape = routing.tape(real)
            tape.record(router, router(x))
            counts = routing.counts(tape, counts)
        told_back(torch.zeros(1), counts).sum().backward()
        for routing in routings:
            routing.settle(1)
    balancer.settle()
    return balancer.use().balance_loss, [one.weight.grad for one in routers if one.weight.grad is not None]


def test_routers_in_stages_learn_what_they_learn_in_one_model() -> None:
    (alone, expected), (staged, found) = _balanced(1), _balanced(2)
    assert staged == pytest.approx(alone, rel=1e-6)
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert other.abs().max() > 0.01
        torch.testing.assert_close(one, other)


def _experts_of(outcome: Outcome) -> list[list[int]]:
    return [[sum(layer) for layer in one.experts.counts] for one in outcome.steps if one.experts is not None]


def test_stages_with_experts_beside_every_other_division_learn_what_one_process_learns(
    on_ranks: Callable[..., Any], tmp_path: Path
) -> None:
    runs = {name: replace(run, steps=3) for name, run in EXPERTS.items()}
    runs["recomputed"] = replace(runs["router losses"], divided={"recomputing": "selective"})
    expected = [run_on(None, run) for run in runs.values()]
    plans = [(degrees, run) for degrees in BESIDE.values() for run in runs.values()]
    saves = replace(runs["router losses"], save=tmp_path / "stages")
    for outcomes in on_ranks(4, runs_on, [*plans, (BESIDE["shards"], saves)]):
        for found, alone in zip(outcomes[:-1], expected * len(BESIDE), strict=True):
            assert_same(found, alone)
            assert _experts_of(found) == _experts_of(alone)
            theirs = [one.experts.balance_loss for one in alone.steps if one.experts is not None]
            ours = [one.experts.balance_loss for one in found.steps if one.experts is not None]
            assert ours == pytest.approx(theirs, rel=1e-4)
            theirs, ours = (
                [step.experts.z_loss for step in run.steps if step.experts is not None]
                for run in (alone, found)
            )
            assert ours == pytest.approx(theirs, rel=1e-4) and min(theirs) > 0
            for name in (name for name in found.weights if name.endswith("e_score_correction_bias")):
                np.testing.assert_allclose(found.weights[name], alone.weights[name], atol=1e-7)
    rest = run_on(None, replace(LOSSES, steps=2, resume=tmp_path / "stages"))
    assert rest.losses == pytest.approx(run_on(None, replace(LOSSES, steps=5)).losses[3:], rel=1e-5)


def test_layers_without_experts_may_be_anywhere_among_the_stages(on_ranks: Callable[..., Any]) -> None:
    experts = config_of(LOSSES).experts
    assert experts is not None
    runs = [
        replace(LOSSES, steps=3, shape={"num_hidden_layers": 4, "experts": replace(experts, layers=layers)})
        for layers in ((0,), (3,), (0, 3), (1, 2))
    ]
    expected = [run_on(None, run) for run in runs]
    for outcomes in on_ranks(4, runs_on, [(Degrees(pp=4), run) for run in runs]):
        for found, alone in zip(outcomes, expected, strict=True):
            assert_same(found, alone)


def _counts_met(run: Run) -> set[torch.dtype]:
    """The types of counts that come into this process's stage."""
    met, plain = set(), StageRouting.counts

    def counts(self: StageRouting, tape: RoutingTape, before: torch.Tensor) -> torch.Tensor:
        met.add(before.dtype)
        return plain(self, tape, before)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageRouting, "counts", counts)
        run_on(Degrees(pp=2, fsdp=2), run)
    return met


def test_counts_are_not_rounded_beside_weights_that_travel_in_bfloat16(on_ranks: Callable[..., Any]) -> None:
    recipe = {**LOSSES.recipe, "dtype": "bfloat16"}
    run = Run(name=LOSSES.name, recipe=recipe, steps=1, divided={"dtype": "bfloat16"})
    assert on_ranks(4, _counts_met, run) == [{torch.float64}] * 4
