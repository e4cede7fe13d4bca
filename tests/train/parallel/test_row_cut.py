"""Pieces of rows: each position at one process, and as many scores at each."""

import numpy as np
import pytest
import torch
from runs import Texts

from llmkit.train.loss import build_batch
from llmkit.train.parallel.ranks import WHOLE_ROWS, Share
from llmkit.train.parallel.row_cut import cut_rows, own_spans, part_of_stream

CPU = torch.device("cpu")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_position_is_somewhere_and_all_processes_make_as_many_scores(count: int) -> None:
    length = 8 * count
    spans = [own_spans(length, Share(index, count)) for index in range(count)]
    places = [place for own in spans for span in own for place in range(span.start, span.end)]
    assert sorted(places) == list(range(length))
    scores = {sum(t + 1 for span in own for t in range(span.start, span.end)) for own in spans}
    assert scores == {length * (length + 1) // 2 // count}
    assert all(span.reach == length for own in spans for span in own)


def test_two_processes_have_a_batch_between_them() -> None:
    rows = Texts(6).rows  # documents, padding, and targets that carry no loss
    whole = build_batch(rows, document_mask=True, device=CPU)
    assert cut_rows(whole, WHOLE_ROWS) is whole
    first, second = (cut_rows(whole, Share(index, 2)) for index in range(2))
    assert first.count + second.count == whole.count
    assert first.num_real + second.num_real == whole.num_real < whole.ids.numel()
    for name in ("ids", "targets", "real"):
        a, b, c, d = getattr(whole, name).chunk(4, dim=1)
        assert torch.equal(getattr(first, name), torch.cat((a, d), dim=1)), name
        assert torch.equal(getattr(second, name), torch.cat((b, c), dim=1)), name
    assert whole.segments is not None and first.segments is whole.segments  # of whole rows


def test_the_stream_between_matrices_has_the_positions_side_by_side() -> None:
    row, rows = torch.arange(6), torch.arange(12).view(2, 6)
    assert part_of_stream(row, Share(1, 3)).tolist() == [2, 3]
    assert part_of_stream(rows, Share(1, 2)).tolist() == [[3, 4, 5], [9, 10, 11]]
    assert torch.equal(part_of_stream(rows, WHOLE_ROWS), rows)


def test_a_part_of_a_batch_that_was_cut_is_that_part_cut() -> None:
    whole = build_batch(Texts(6).rows, document_mask=True, device=CPU)
    cut = Share(1, 4)
    for one, other in zip(cut_rows(whole, cut).split(2), whole.split(2), strict=True):
        expected = cut_rows(other, cut)
        assert one.count == expected.count
        assert np.array_equal(one.ids, expected.ids) and np.array_equal(one.targets, expected.targets)
        assert one.segments is not None and torch.equal(one.segments, other.segments)  # type: ignore[arg-type]
