"""Perplexity by hand: two texts, whose every figure is worked out."""

import math

import pytest

from llmkit.engine.request import Drawn, Scored
from llmkit.errors import DataError
from llmkit.probe.evaluate.perplexity import TextSums, perplexity


def _drawn(*probabilities: float) -> list[Drawn]:
    return [Drawn(0, score=Scored(0, math.log(p))) for p in probabilities]


def _text(index: int, *windows: tuple[float, ...]) -> TextSums:
    text = TextSums(index=index, id=str(index), tokens=1 + sum(map(len, windows)))
    for window in windows:
        text.add(_drawn(*window), [2] * len(window))
    return text


def test_two_texts_worked_out_by_hand() -> None:
    found = perplexity([_text(0, (0.5, 0.25)), _text(1, (0.125, 0.5))])
    bits = [1, 2, 3, 1]
    assert found.perplexity == pytest.approx(2 ** (7 / 4), rel=1e-12)
    assert found.bits_per_token == pytest.approx(7 / 4, rel=1e-12)
    assert found.bits_per_byte == pytest.approx(7 / 8, rel=1e-12)
    assert (found.records, found.tokens, found.scored_tokens, found.bytes) == (2, 6, 4, 8)
    variance = sum((one - 7 / 4) ** 2 for one in bits) / 4  # llama.cpp: sqrt(variance / (count - 1))
    assert found.nll_error == pytest.approx(math.sqrt(variance / 3) * math.log(2), rel=1e-9)
    # clusters of sums 3 and 4 bits, two tokens each: residuals -1/2 and 1/2
    cluster = math.sqrt((0.25 + 0.25) * 2) / 4 * math.log(2)
    assert found.nll_cluster_error == pytest.approx(cluster, rel=1e-9)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(found.perplexity * math.exp(-1.959964 * cluster), rel=1e-6)
    assert "by 2 windows as clusters" in found.interval.method


def test_ten_texts_are_clusters_themselves_and_windows_no_more() -> None:
    found = perplexity([_text(n, (0.5,), (0.25,)) for n in range(10)])
    assert found.interval is not None
    assert "10 records" in found.interval.method and found.interval.low == pytest.approx(found.perplexity)


def test_the_interval_of_one_window_is_that_of_its_tokens_and_says_so() -> None:
    found = perplexity([_text(0, (0.5, 0.25, 0.125, 0.5))])
    assert found.nll_cluster_error is None and found.interval is not None
    assert found.interval.method.endswith("by 4 tokens taken as independent, as there is one window")
    bits = [1, 2, 3, 1]
    error = math.sqrt(sum((one - 7 / 4) ** 2 for one in bits) / 4 / 3)
    assert math.log2(found.interval.high / found.interval.low) == pytest.approx(
        2 * 1.959964 * error, rel=1e-6
    )
    assert found.headline().error == pytest.approx(found.perplexity_error)


def test_one_token_has_no_interval() -> None:
    found = perplexity([_text(0, (0.25,))])
    assert (found.interval, found.nll_cluster_error, found.headline().error) == (None, None, 0.0)


def test_a_text_of_which_nothing_is_scored_counts_as_a_record_only() -> None:
    found = perplexity([_text(0, (0.5,)), TextSums(index=1, id="1", tokens=1)])
    assert (found.records, found.scored_tokens) == (2, 1) and found.perplexity == pytest.approx(2)
    assert TextSums(index=1, id="1", tokens=1).figures()["perplexity"] is None


def test_nothing_scored_is_refused() -> None:
    with pytest.raises(DataError, match="no token"):
        perplexity([TextSums(index=0, id="0", tokens=1)])


def test_the_figures_of_one_text_are_its_own() -> None:
    figures = _text(0, (0.5, 0.125)).figures()
    assert figures["perplexity"] == pytest.approx(4)
    assert figures["bits_per_byte"] == pytest.approx(1)
    assert figures["nll_per_token"] == pytest.approx(2 * math.log(2))
