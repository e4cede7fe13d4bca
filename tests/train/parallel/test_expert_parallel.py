"""Rows reach the process of their expert and come back to their places, and so do their gradients."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import EXPERTS, Texts, assert_same, config_of, run_on, runs_on
from torch import Tensor

from llmkit.model.moe import Experts
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.loss import build_batch
from llmkit.train.objective import NextToken
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.expert_parallel import RowExchange, spread_experts
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.parallel.tensors import whole

ROWS = ([2, 0, 3, 1], [0, 0, 0, 4])
"""Of each of four experts, on each of two processes; nothing goes from the second to the first."""


def _weigh(rows: Tensor, owner: Tensor, counts: Tensor, first: int) -> Tensor:
    """What an expert makes of a row: its number + 1 times it."""
    assert torch.equal(torch.bincount(owner, minlength=len(counts)), counts)
    assert torch.equal(owner, owner.sort().values)
    return rows * (owner + first + 1).unsqueeze(1)


def _exchange(degrees: Degrees) -> tuple[bool, bool, float]:
    ranks = MeshRanks(degrees, torch.device("cpu"))
    counts = torch.tensor(ROWS[ranks.rank])
    rows = (torch.arange(int(counts.sum()) * 3.0).view(-1, 3) + 100 * ranks.rank).requires_grad_()
    exchange = RowExchange(ranks.group("ep"))
    found = exchange(lambda *given: _weigh(*given, first=2 * ranks.rank), rows, counts)
    (found * found.detach()).sum().backward()
    assert rows.grad is not None
    owner = torch.arange(4).repeat_interleave(counts).unsqueeze(1) + 1
    kept = rows.detach()
    same = torch.equal(found.detach(), kept * owner), torch.equal(rows.grad, kept * owner * owner)
    return *same, float(found.detach().abs().sum())


def test_rows_go_to_their_experts_and_come_back(on_ranks: Callable[..., Any]) -> None:
    for rows, gradients, total in on_ranks(2, _exchange, Degrees(ep=2)):
        assert rows and gradients and total > 0


def _spread(degrees: Degrees) -> tuple[list[tuple[int, ...]], bool]:
    torch.manual_seed(0)
    model = Transformer(preset("tiny-moe", vocab_size=64, max_position_embeddings=16))
    before = {name: one.clone() for name, one in model.state_dict().items()}
    spread_experts(model, MeshRanks(degrees, torch.device("cpu")).mesh["ep"])
    own = [tuple(one.to_local().shape) for one in model.parameters() if hasattr(one, "to_local")]
    again = all(torch.equal(whole(one), before[name]) for name, one in model.state_dict().items())
    return own, again and [*model.state_dict()] == [*before]


def test_each_process_keeps_its_experts_and_together_they_are_the_model(on_ranks: Callable[..., Any]) -> None:
    for own, again in on_ranks(2, _spread, Degrees(ep=2)):
        assert own and all(shape[0] == 4 for shape in own)
        assert again


def _told_to_experts(degrees: Degrees) -> set[str]:
    ranks = MeshRanks(degrees, torch.device("cpu"))
    run = EXPERTS["router losses"]
    divided = Divided(Transformer(config_of(run)), ranks, dtype="bfloat16")
    told: set[str] = set()
    for module in divided.model.modules():
        if isinstance(module, Experts):
            module.register_forward_hook(lambda _, given, __: told.add(str(given[2].dtype)))
    batch = build_batch(Texts(2).rows, document_mask=True, device=torch.device("cpu"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = divided.loss_pass(NextToken(chunked=False), batch)
    loss.backward()
    return told


def test_what_a_token_gives_of_an_expert_stays_float32_beside_weights_that_travel_in_bfloat16(
    on_ranks: Callable[..., Any],
) -> None:
    for told in on_ranks(4, _told_to_experts, Degrees(fsdp=2, ep=2)):
        assert told == {"torch.float32"}


def test_experts_on_several_processes_learn_what_they_learn_on_one(
    on_ranks: Callable[..., Any], tmp_path: Path
) -> None:
    runs = {name: replace(run, steps=4, micro=2) for name, run in EXPERTS.items()}
    runs["Muon"] = replace(runs["router losses"], recipe={"optimizer": "muon"}, steps=3)
    runs["recomputed"] = replace(runs["router losses"], divided={"recomputing": "full"}, steps=3)
    plans = [(Degrees(ep=2), run) for run in runs.values()]
    plans.append((Degrees(ep=2), replace(runs["router losses"], save=tmp_path / "ep")))
    expected = [run_on(None, replace(run, save=None)) for _, run in plans]
    for outcomes in on_ranks(2, runs_on, plans):
        for found, alone in zip(outcomes, expected, strict=True):
            assert_same(found, alone)
            experts = sum(one.nbytes for name, one in alone.weights.items() if ".experts." in name)
            assert experts > 0 and found.part_bytes == alone.part_bytes - experts / 2
    four = runs["router losses"]
    whole = run_on(None, replace(four, steps=7))
    rest = replace(four, steps=3, resume=tmp_path / "ep")
    assert run_on(None, rest).losses == pytest.approx(whole.losses[4:], rel=1e-5)
    for outcomes in on_ranks(2, runs_on, [(Degrees(ep=2), rest), (Degrees(fsdp=2), rest)]):
        for found in outcomes:
            assert found.losses == pytest.approx(whole.losses[4:], rel=1e-5)


BESIDE = {
    "replicas": Degrees(dp=2, ep=2),
    "shards": Degrees(fsdp=2, ep=2),
    "rows in pieces": Degrees(ep=2, cp=2),
    "cut matrices": Degrees(ep=2, tp=2),
}


def test_experts_are_spread_beside_every_other_division_of_a_layer(
    on_ranks: Callable[..., Any], tmp_path: Path
) -> None:
    """Shards of what is not spread lie on all four, shards of experts on the two that have the same."""
    runs = {name: replace(run, steps=4, micro=1) for name, run in EXPERTS.items()}
    expected = {name: run_on(None, run) for name, run in runs.items()}
    plans = [
        (degrees, replace(run, save=tmp_path / f"{name} {beside}"))
        for name, run in runs.items()
        for beside, degrees in BESIDE.items()
    ]
    for outcomes in on_ranks(4, runs_on, plans):
        for (degrees, run), found in zip(plans, outcomes, strict=True):
            alone = next(expected[name] for name in runs if replace(run, save=None) == runs[name])
            assert_same(found, alone)
            sizes = {name: one.nbytes for name, one in alone.weights.items() if not name.endswith("_bias")}
            experts = sum(size for name, size in sizes.items() if ".experts." in name)
            assert found.part_bytes < alone.part_bytes - experts / 2 + 1
            if degrees.fsdp > 1:
                assert found.part_bytes == alone.part_bytes / 4
    rest = replace(runs["router losses"], steps=2, resume=tmp_path / "router losses shards")
    straight = run_on(None, replace(runs["router losses"], steps=6)).losses[4:]
    for outcomes in ([run_on(None, rest)], *on_ranks(4, runs_on, [(one, rest) for one in BESIDE.values()])):
        for found in outcomes:
            assert found.losses == pytest.approx(straight, rel=1e-5)
