import pytest
import torch

from llmkit.quant.workers import ALONE, Workers, pieces, row_products


def test_results_come_in_the_order_of_the_items() -> None:
    with Workers(3) as workers:
        assert workers.map(lambda item: item * item, range(20)) == [item * item for item in range(20)]
    assert ALONE.map(str, [1, 2]) == ["1", "2"]


def test_torch_has_one_thread_inside_and_its_own_number_again_behind() -> None:
    kept = torch.get_num_threads()
    with Workers(2) as workers:
        assert workers.map(lambda _: torch.get_num_threads(), range(4)) == [1] * 4
    assert torch.get_num_threads() == kept


def test_an_error_in_a_piece_comes_out_and_threads_are_given_back() -> None:
    kept = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), Workers(2) as workers:
        workers.map(lambda item: 1 // item, [1, 0, 1])
    assert torch.get_num_threads() == kept


def test_pieces_cover_every_row_once_whatever_the_workers() -> None:
    assert [(one.start, one.stop) for one in pieces(5, 2)] == [(0, 2), (2, 4), (4, 5)]
    assert list(pieces(0)) == []


def test_products_are_those_of_whole_matrices_to_the_bit_from_any_number_of_workers() -> None:
    left, right = torch.randn(700, 40), torch.randn(40, 40)
    found = []
    for count in (1, 2, 3):
        with Workers(count) as workers:
            found.append(row_products(workers, left, right))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert torch.allclose(found[0], ((left @ right) * left).sum(1), atol=1e-3)
