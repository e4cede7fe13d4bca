"""What a loss asks of logits that lie on several processes."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.train.cross_entropy import IGNORED
from llmkit.train.loss import nats_sum, target_terms
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.logit_parts import LogitParts
from llmkit.train.parallel.ranks import MeshRanks

IDS = 12
TARGETS = [[0, 5, 6, IGNORED], [11, 3, IGNORED, 7]]


def logits_of(scale: float = 20.0) -> Tensor:
    """(2, 4, IDS), far apart: exponents of their differences go beyond float32."""
    return torch.randn(2, 4, IDS, generator=torch.Generator().manual_seed(1)) * scale


def learnt(weights: tuple[float, float]) -> tuple[float, list[Any], list[Any]]:
    """Cross-entropy, and the gradient of a weighted sum of both terms: (2, 4, 6) of this process."""
    ranks = MeshRanks(Degrees(tp=2), torch.device("cpu"))
    parts = LogitParts(ranks.group("tp"))
    assert copy.deepcopy(parts) is parts
    own = logits_of().chunk(2, -1)[ranks.stream.index].clone().requires_grad_()
    targets = torch.tensor(TARGETS)
    nats = nats_sum(own, targets, parts)
    log_z, chosen = target_terms(own, targets, parts)
    counts = targets.flatten() != IGNORED
    (weights[0] * log_z.square() + weights[1] * chosen)[counts].sum().backward()
    assert own.grad is not None
    return nats.item(), log_z.tolist(), own.grad.tolist()


def test_terms_of_parts_are_those_of_all_logits_and_so_are_gradients(
    on_ranks: Callable[..., Any],
) -> None:
    full = logits_of().double().requires_grad_()
    targets = torch.tensor(TARGETS)
    rows, columns = (targets != IGNORED).nonzero(as_tuple=True)
    log_z = torch.logsumexp(full, -1)
    kept = full[rows, columns, targets[rows, columns]]
    nats = (log_z[rows, columns] - kept).sum()
    (0.3 * log_z[rows, columns].square() - 1.7 * kept).sum().backward()
    assert full.grad is not None
    told = on_ranks(2, learnt, (0.3, -1.7))
    for found, both, _ in told:
        assert found == pytest.approx(nats.item(), rel=1e-5)
        assert both == pytest.approx(log_z.flatten().tolist(), rel=1e-5)
    gradient = torch.cat([torch.tensor(one) for _, _, one in told], -1)
    torch.testing.assert_close(gradient, full.grad.float(), rtol=1e-4, atol=1e-4)


def with_one_part_ruled_out() -> tuple[list[float], list[float]]:
    """log Z, and the gradient of its sum, where the other process has nothing but -inf."""
    ranks = MeshRanks(Degrees(tp=2), torch.device("cpu"))
    own = logits_of().chunk(2, -1)[ranks.stream.index].clone()
    own = own.fill_(-torch.inf) if ranks.rank else own
    log_z, _ = target_terms(
        own.requires_grad_(), torch.zeros(2, 4, dtype=torch.int64), LogitParts(ranks.group("tp"))
    )
    log_z.sum().backward()
    assert own.grad is not None
    return log_z.tolist(), own.grad.flatten().tolist()


def test_ids_that_are_ruled_out_count_nothing_even_where_a_process_has_no_others(
    on_ranks: Callable[..., Any],
) -> None:
    allowed = logits_of().chunk(2, -1)[0].double()
    (one, gradient), (other, nothing) = on_ranks(2, with_one_part_ruled_out)
    assert one == other == pytest.approx(torch.logsumexp(allowed, -1).flatten().tolist(), rel=1e-5)
    assert gradient == pytest.approx(allowed.softmax(-1).flatten().tolist(), abs=1e-5)
    assert nothing == [0.0] * allowed.numel()


def test_a_whole_model_needs_no_parts() -> None:
    logits, targets = logits_of(1.0), torch.tensor(TARGETS)
    log_z, chosen = target_terms(logits, targets)
    counts = targets.flatten() != IGNORED
    assert (log_z - chosen)[counts].sum().item() == pytest.approx(nats_sum(logits, targets).item(), rel=1e-6)
