"""Superblocks' scales: better than where they began, and with the library as without."""

import pytest
import torch

from llmkit.quant import shared_scales
from llmkit.quant.lattice import Lattice
from llmkit.quant.shared_scales import SharedScales, settled

TABLE = torch.arange(0.0, 32)


def start(weight: torch.Tensor) -> SharedScales:
    """Spanning each group, rounded to multiples: superblocks of 8 groups."""
    low, top = weight.amin(1).clamp_max(0), weight.amax(1)
    steps, bases = ((top - low) / 31).view(-1, 8), (-low).view(-1, 8)
    d, dmin = (steps.amax(1) / 63).half(), (bases.amax(1) / 63).half()
    scale = (steps / d.float()[:, None]).round().clamp(0, 63).flatten()
    return SharedScales(d, scale, dmin, (bases / dmin.float()[:, None]).round().clamp(0, 63).flatten())


def lost(weight: torch.Tensor, counts: torch.Tensor | None, at: SharedScales) -> float:
    assert at.dmin is not None and at.minimum is not None
    step = at.d.float().repeat_interleave(8) * at.scale
    base = -at.dmin.float().repeat_interleave(8) * at.minimum
    lattice = Lattice(step[:, None], TABLE, base[:, None], 32)
    change = lattice.values(lattice.round(weight)) - weight
    times = 1 if counts is None else counts.repeat(len(weight) // len(counts), 1)
    return float((times * change.double() ** 2).sum())


@pytest.mark.parametrize("weighed", [False, True])
def test_scales_settle_where_less_is_lost_with_the_library_and_without(
    weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 32, generator=generator)
    counts = torch.rand(8, 32, generator=generator) if weighed else None
    first = start(weight)
    ours = settled(weight, counts, TABLE, first, (0, 63))
    assert lost(weight, counts, ours) < 0.93 * lost(weight, counts, first)
    assert ours.minimum is not None
    for whole in (ours.scale, ours.minimum):
        assert torch.equal(whole, whole.round().clamp(0, 63))
    monkeypatch.setattr(shared_scales, "natively", lambda *tensors: False)
    slow = settled(weight, counts, TABLE, first, (0, 63))
    assert lost(weight, counts, ours) == pytest.approx(lost(weight, counts, slow), rel=1e-3)


def test_superblocks_of_zeros_stay_what_they_are() -> None:
    weight = torch.zeros(8, 32)
    zero = torch.zeros(1, dtype=torch.float16)
    at = settled(weight, None, TABLE, SharedScales(zero, torch.zeros(8), zero, torch.zeros(8)), (0, 63))
    assert lost(weight, None, at) == 0
