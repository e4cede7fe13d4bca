"""Factors of several matrices as those of one: its change is theirs below each other."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from llmkit.errors import ConfigError
from llmkit.model.adapters.joined import joined
from llmkit.model.adapters.weights import LowRank


class Stacked:
    """Three matrices of 4, 2 and 2 rows, below each other."""

    ours = ("q", "k", "v")
    rows = (4, 2, 2)

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(tensors))


def _drawn(seed: int, rows: int, rank: int, shared: Tensor | None = None, scale: float = 2.0) -> LowRank:
    draw = torch.Generator().manual_seed(seed)
    own = torch.randn(rank, 6, generator=draw) if shared is None else shared
    return LowRank(own, torch.randn(rows, len(own), generator=draw), scale)


def test_a_shared_first_factor_stays_one() -> None:
    q = _drawn(0, 4, 3)
    one = joined(Stacked(), {"q": q, "k": _drawn(1, 2, 3, q.A), "v": _drawn(2, 2, 3, q.A.clone())})
    assert one.A is not None and torch.equal(one.A, q.A) and one.rank == 3


def test_different_factors_and_scales_make_the_same_changes_and_what_is_not_adapted_none() -> None:
    ours = {"q": _drawn(0, 4, 3), "v": _drawn(1, 2, 1, scale=0.5)}
    one = joined(Stacked(), ours)
    assert (one.rank, one.scale) == (4, 2.0)
    q, k, v = one.delta().split(Stacked.rows)
    assert torch.allclose(q, ours["q"].delta()) and torch.allclose(v, ours["v"].delta())
    assert not k.any()


def test_lengths_of_what_is_not_adapted_are_the_bases() -> None:
    q = LowRank(torch.ones(1, 6), torch.ones(4, 1), 1.0, torch.full((4,), 3.0))
    one = joined(Stacked(), {"q": q}, lambda name: torch.full((2,), float(name == "v")))
    assert one.magnitude is not None and one.magnitude.tolist() == [3.0] * 4 + [0.0] * 2 + [1.0] * 2
    with pytest.raises(ConfigError, match="k is not adapted"):
        joined(Stacked(), {"q": q})
