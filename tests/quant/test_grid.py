"""Matrices cut into groups."""

import torch

from llmkit.quant.grid import rows_of_groups


def test_groups_are_runs_of_columns_and_importance_goes_with_them() -> None:
    weight = torch.arange(24.0).view(2, 12)
    groups, counts = rows_of_groups(weight, torch.arange(12.0), 4)
    assert groups[4].tolist() == [16, 17, 18, 19]
    assert counts[4].tolist() == [4, 5, 6, 7]
    each = torch.rand(2, 12)
    assert torch.equal(rows_of_groups(weight, each, 4)[1], each.view(6, 4))


def test_without_importance_all_columns_count_alike() -> None:
    assert rows_of_groups(torch.zeros(2, 12), None, 4)[1].tolist() == [[1, 1, 1, 1]]
