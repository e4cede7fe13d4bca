"""Windows beside the loop of transformers' guide and the counts of llama-perplexity, written out slowly."""

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.probe.evaluate.windows import Window, chunk_windows, sliding_windows


def _guide(count: int, window: int, stride: int) -> list[tuple[int, int, list[int]]]:
    """transformers' docs, perplexity.md: labels are ids, -100 but for the last trg_len, shifted by one."""
    found = []
    before = 0
    for begin in range(0, count, stride):
        end = min(begin + window, count)
        target = end - before
        labels = [place if place >= end - target else None for place in range(begin, end)]
        found.append((begin, end, [place for place in labels[1:] if place is not None]))
        before = end
        if end == count:
            break
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 16, 17, 40])
@pytest.mark.parametrize(("window", "stride"), [(8, 8), (8, 4), (8, 3), (8, 1), (2, 1), (100, 50)])
def test_sliding_windows_score_what_the_guides_loop_scores(count: int, window: int, stride: int) -> None:
    ours = [
        (one.begin, one.end, list(range(one.first, one.end)))
        for one in sliding_windows(count, window=window, stride=stride)
    ]
    assert ours == [one for one in _guide(count, window, stride) if one[2]]


@pytest.mark.parametrize(("count", "window", "stride"), [(50, 8, 4), (50, 8, 7), (9, 8, 2)])
def test_where_windows_overlap_every_token_but_the_first_is_scored_once(
    count: int, window: int, stride: int
) -> None:
    windows = sliding_windows(count, window=window, stride=stride)
    places = [place for one in windows for place in range(one.first, one.end)]
    assert places == list(range(1, count))


@pytest.mark.parametrize("stride", [0, 9])
def test_a_stride_that_stands_still_or_leaves_tokens_out_is_refused(stride: int) -> None:
    with pytest.raises(UsageError, match=f"--stride {stride}: a stride is from 1 to the window of 8"):
        list(sliding_windows(20, window=8, stride=stride))


@pytest.mark.parametrize("window", [0, 1])
def test_a_window_that_scores_nothing_is_refused_by_its_own_flag(window: int) -> None:
    with pytest.raises(UsageError, match=f"--window {window}: nothing is scored") as refused:
        list(sliding_windows(20, window=window, stride=1))
    assert refused.value.hint == "--window 2, or more"


@pytest.mark.parametrize("window", [8, 9])
def test_of_a_chunk_llama_perplexity_scores_n_minus_1_minus_half_of_n(window: int) -> None:
    chunks = chunk_windows(3 * window + 5, window=window)
    assert [one.begin for one in chunks] == [0, window, 2 * window]
    first = window // 2
    for one in chunks:  # logits of places first to n - 2 predict the tokens first + 1 to n - 1
        expected = [one.begin + place + 1 for place in range(first, window - 1)]
        assert list(range(one.first, one.end)) == expected
        assert one.scored == window - first - 1


def test_less_than_two_chunks_are_refused_as_llama_perplexity_does() -> None:
    with pytest.raises(DataError, match="15 tokens"):
        chunk_windows(15, window=8)
    assert len(chunk_windows(16, window=8)) == 2
    with pytest.raises(UsageError, match="nothing to score"):
        chunk_windows(100, window=3)


def test_bos_stands_in_place_of_the_first_token() -> None:
    window = Window(begin=2, end=5, first=4)
    assert window.ids([10, 11, 12, 13, 14, 15]) == [12, 13, 14]
    assert window.ids([10, 11, 12, 13, 14, 15], 1) == [1, 13, 14]
