"""Searches with the native library and without it."""

import pytest
import torch

from llmkit.kernels.library import available
from llmkit.quant import search

WEIGHT = torch.randn(24, 32, generator=torch.Generator().manual_seed(1))
COUNTS = torch.rand(3, 32, generator=torch.Generator().manual_seed(2))
TABLE = torch.tensor([-4.0, -2, -1, 0, 1, 3])


@pytest.mark.parametrize("counts", [None, COUNTS, COUNTS[:1], torch.full((1, 32), 0.5)])
def test_without_the_library_steps_are_the_same_but_for_rounding(
    counts: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def every() -> list[torch.Tensor]:
        return [
            search.even_scale(WEIGHT, counts, -8, 7, 21),
            search.table_scale(WEIGHT, counts, TABLE, 15),
            *search.even_scale_and_base(WEIGHT, counts, 15, 30, below_zero=True),
            *search.even_scale_and_base(WEIGHT, counts, 15, 30, below_zero=False),
        ]

    here = every()
    monkeypatch.setattr(search, "available", lambda: False)
    for ours, slow in zip(here, every(), strict=True):
        assert ours.shape == (24,)
        close = torch.isclose(ours, slow, rtol=1e-4, atol=1e-5)
        assert close.float().mean() > 0.9  # trials that lose the same within rounding may be far apart


def test_bfloat16_weights_are_searched_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    half = WEIGHT.bfloat16()
    for native in {available(), False}:
        monkeypatch.setattr(search, "available", lambda native=native: native)
        steps = [search.even_scale(one, None, -8, 7, 9) for one in (half, half.float())]
        assert torch.equal(*steps)


def test_weights_apart_in_memory_are_searched_like_others() -> None:
    apart = torch.randn(32, 24, generator=torch.Generator().manual_seed(1)).T
    ours = search.even_scale(apart, COUNTS.clone(), -8, 7, 9)
    assert torch.equal(ours, search.even_scale(apart.clone(), COUNTS, -8, 7, 9))
