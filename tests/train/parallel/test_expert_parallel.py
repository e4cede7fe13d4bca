"""Rows reach the process of their expert and come back to their places, and so do their gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.parallel.degrees import Degrees
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
