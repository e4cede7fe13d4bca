"""Which positions a new one sees: key j by query i iff i - W < j <= i, and of one document."""

import pytest
import torch
from torch import Tensor

from llmkit.model.layout import Span, first_seen, layout_mask, row_stretches
from llmkit.model.segments import segment_positions
from llmkit.model.window import Window

CPU = torch.device("cpu")


def _by_definition(
    start: int, length: int, window: int | None, segments: Tensor | None = None, *, chunked: bool = False
) -> list[list[bool]]:
    rows = []
    for i in range(start, start + length):
        begin = 0 if segments is None else segments.tolist().index(segments[i])  # of i's document
        seen = [j <= i and (window is None or i - window < j) for j in range(start + length)]
        if window is not None and chunked:
            seen = [j <= i and (j - begin) // window == (i - begin) // window for j in range(start + length)]
        if segments is not None:
            seen = [one and bool(segments[i] == segments[j]) for j, one in enumerate(seen)]
        rows.append(seen)
    return rows


@pytest.mark.parametrize("window", [None, 1, 2, 3, 5, 6, 7, 8, 100])
@pytest.mark.parametrize(("start", "length"), [(0, 1), (0, 6), (2, 5), (6, 1), (6, 2), (1, 6)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_mask_is_the_definition_or_none_where_plain_causal_attention_is(
    start: int, length: int, window: int | None, chunked: bool
) -> None:
    mask = layout_mask(start, length, CPU, window=Window(window, chunked))
    expected = _by_definition(start, length, window, chunked=chunked)
    if mask is None:  # all queries of the first pass, or one that sees all that is cached
        assert expected == _by_definition(start, length, None)
        assert start == 0 or length == 1
    else:
        assert mask.tolist() == expected


@pytest.mark.parametrize("window", [None, 2, 4, 20])
@pytest.mark.parametrize("chunked", [False, True])
def test_documents_see_themselves_alone_within_the_window(window: int | None, chunked: bool) -> None:
    segments = torch.tensor([[3, 3, 8, 8, 8, 8, 8], [5, 5, 5, 5, 5, 5, 0]])
    mask = layout_mask(0, 7, CPU, window=Window(window, chunked), segments=segments)
    assert mask is not None
    assert mask.shape == (2, 1, 7, 7)
    for row, numbers in enumerate(segments):
        assert mask[row, 0].tolist() == _by_definition(0, 7, window, numbers, chunked=chunked)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("window", [1, 3, 4, 20])
@pytest.mark.parametrize("documents", [False, True])
def test_the_first_position_seen_is_the_first_of_the_mask(
    window: int, chunked: bool, documents: bool
) -> None:
    segments = torch.tensor([[3, 3, 8, 8, 8, 8, 8], [5, 5, 5, 5, 5, 5, 0]]) if documents else None
    positions = torch.arange(7) if segments is None else segment_positions(segments)
    mask = layout_mask(0, 7, CPU, window=Window(window, chunked), segments=segments)
    mask = torch.ones(7, 7, dtype=torch.bool).tril() if mask is None else mask
    found = first_seen(positions, Window(window, chunked))
    assert found.tolist() == mask.int().argmax(-1).reshape(found.shape).tolist()


def test_a_window_of_one_is_a_position_alone() -> None:
    mask = layout_mask(0, 4, CPU, window=Window(1))
    assert mask is not None
    assert torch.equal(mask, torch.eye(4, dtype=torch.bool))


def test_the_mask_lies_where_it_is_asked_for() -> None:
    mask = layout_mask(3, 2, torch.device("meta"))
    assert mask is not None
    assert (mask.device.type, tuple(mask.shape)) == ("meta", (2, 5))


@pytest.mark.parametrize("window", [None, 1, 3, 4, 20])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_stretches_of_a_row_see_what_they_would_in_all_of_it(
    window: int | None, documents: bool, chunked: bool
) -> None:
    segments = torch.tensor([[3, 3, 8, 8, 8, 8, 8, 9], [5, 5, 5, 5, 5, 5, 0, 0]]) if documents else None
    spans = [Span(2, 2, 8), Span(6, 1, 8), Span(0, 2, 8)]
    stretches = row_stretches(spans, CPU, window=Window(window, chunked), segments=segments)
    assert [one.queries for one in stretches] == [slice(0, 2), slice(2, 3), slice(3, 5)]
    for span, one in zip(spans, stretches, strict=True):
        for row in range(2):
            numbers = None if segments is None else segments[row]
            expected = _by_definition(0, 8, window, numbers, chunked=chunked)[span.start : span.end]
            keys = range(8)[one.keys]
            assert not any(seen for line in expected for key, seen in enumerate(line) if key not in keys)
            mask = torch.ones(span.count, len(keys), dtype=torch.bool).tril(span.start - keys.start)
            if one.mask is not None:
                mask = one.mask[row, 0] if documents else one.mask
            assert mask.tolist() == [line[one.keys] for line in expected]
