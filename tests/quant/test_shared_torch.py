"""Neighbouring whole numbers against every one of them tried by hand."""

import itertools

import torch

from llmkit.quant import shared_torch


def test_each_group_takes_the_best_of_nine_pairs_and_sums_are_over_its_codes() -> None:
    generator = torch.Generator().manual_seed(3)
    weight, counts = torch.randn(6, 32, generator=generator), torch.rand(2, 32, generator=generator)
    table = torch.arange(0.0, 16)
    units = (torch.full((6,), 0.005), torch.full((6,), 0.06))
    chosen = (torch.full((6,), 40.0), torch.full((6,), 30.0))
    scale, minimum, sums = shared_torch.neighbours(weight, counts, table, units, chosen, (0, 40))
    assert minimum is not None
    for m in range(6):
        found = {}
        for by, more in itertools.product((-1, 0), (-1, 0, 1)):  # 41 is beyond the limit
            values = table.double() * (40 + by) * 0.005 - (30 + more) * 0.06
            gaps = (weight[m].double()[:, None] - values).abs()
            found[40.0 + by, 30.0 + more] = float((counts[m % 2].double() * gaps.min(1)[0] ** 2).sum())
        best = min(found, key=lambda pair: found[pair])
        assert (float(scale[m]), float(minimum[m])) == best
        values = table * best[0] * 0.005 - best[1] * 0.06
        q, i, x = table[(weight[m][:, None] - values).abs().argmin(1)], counts[m % 2], weight[m]
        expected = [
            (i * (values[q.long()] - x) ** 2).sum(),
            *((i * v).sum() for v in (q, q * q, q * x, 1, x)),
        ]
        torch.testing.assert_close(sums[m], torch.stack(expected), rtol=1e-4, atol=1e-4)
