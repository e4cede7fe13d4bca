"""An embedding table whose every oddity was put there by hand."""

import pytest
import torch

from llmkit.errors import DataError
from llmkit.probe.embeddings import Unused, nearest, row_lengths, unused_rows


def drawn(rows: int = 40, width: int = 16) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0))


def test_lengths_are_euclidean_and_a_number_that_is_none_is_named() -> None:
    table = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    assert row_lengths(table).tolist() == [5.0, 0.0, 1.0]
    table[2, 1] = torch.inf
    with pytest.raises(DataError, match="token 2 is not finite"):
        row_lengths(table)


def test_nearest_is_the_order_of_angles_whatever_the_lengths() -> None:
    table = torch.tensor([[1.0, 0.0], [9.0, 9.0], [0.1, 0.01], [-5.0, 0.0], [0.0, 0.0]])
    found = nearest(table, row_lengths(table), 0, 10)
    assert [one.id for one in found] == [2, 1, 3]  # a row of no length has no angle
    assert found[1].cosine == pytest.approx(0.5**0.5) and found[2].cosine == pytest.approx(-1)
    assert [one.id for one in nearest(table, row_lengths(table), 0, 1)] == [2]
    with pytest.raises(DataError, match="token 4 is zero"):
        nearest(table, row_lengths(table), 4, 2)


def test_each_sign_is_found_where_it_was_put_and_nowhere_else() -> None:
    table = drawn()
    table[3] = 0.0
    table[7] = table[21]
    table[11] *= 0.05
    found = unused_rows(table, row_lengths(table), has_token=lambda one: one < 38)
    signs = {one.id: one.sign for one in found}
    assert signs == {
        **{3: "zero", 7: "same as another", 21: "same as another", 11: "short"},
        **{38: "no token", 39: "no token"},
    }
    assert unused_rows(drawn(), row_lengths(drawn())) == []


def test_rows_beside_the_unreachable_ones_are_told_only_where_those_point_one_way() -> None:
    table = drawn()
    way = torch.ones(16)
    for row in (1, 2, 5, 30):
        table[row] = 3 * way + 0.1 * table[row]
    found = unused_rows(table, row_lengths(table), unreachable=[1, 2, 5])
    assert [(one.id, one.sign) for one in found] == [(one, "unreachable") for one in (1, 2, 5, 30)]
    assert isinstance(found[0], Unused) and found[0].length == pytest.approx(float(table[1].norm()))
    assert unused_rows(table, row_lengths(table), unreachable=[1, 2]) == []  # too few
    assert unused_rows(drawn(), row_lengths(drawn()), unreachable=[1, 2, 5]) == []  # at random
