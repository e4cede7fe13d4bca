"""Divergence: against sums written out with math and numpy, and llama.cpp's formulas from running sums."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.quant import divergence
from llmkit.quant.divergence import Divergence, scored_positions


def texts(count: int, vocabulary: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(count, vocabulary, generator=generator) * 2
    logits = base + 0.3 * torch.randn(count, vocabulary, generator=generator)
    return base, logits, torch.randint(vocabulary, (count,), generator=generator)


def test_two_tokens_worked_out_by_hand() -> None:
    # p = (3/4, 1/4), q = (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2)
    seen = Divergence()
    seen.add(torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2), torch.tensor([1]))
    report = seen.report()
    assert report.kld == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-6)
    assert report.delta_p == pytest.approx(0.25, rel=1e-6)
    assert report.delta_p_rms == pytest.approx(0.25, rel=1e-6)
    assert (report.perplexity_base, report.perplexity) == (pytest.approx(4.0), pytest.approx(2.0))
    assert report.ratio == pytest.approx(0.5)
    assert (report.bits_per_token_base, report.bits_per_token) == (pytest.approx(2.0), pytest.approx(1.0))
    assert report.same_top == 1.0  # of equals the first is the choice, as in llama.cpp
    assert report.kld_error == report.ratio_error == 0.0  # of one position


def test_every_figure_is_what_llama_cpps_running_sums_give() -> None:
    base, logits, ids = texts(200)
    seen = Divergence()
    seen.add(base[:70], logits[:70], ids[:70])
    seen.add(base[70:], logits[70:], ids[70:])
    report = seen.report()

    def log_softmax(row: np.ndarray) -> np.ndarray:
        return row - row.max() - math.log(np.exp(row - row.max()).sum())

    names = ("nll", "nll2", "base", "base2", "both", "kld", "kld2", "d", "d2", "d4", "same")
    sums = dict.fromkeys(names, 0.0)
    klds: list[float] = []
    for b, q, token in zip(base.double().numpy(), logits.double().numpy(), ids.tolist(), strict=True):
        log_b, log_q = log_softmax(b), log_softmax(q)
        nll, nll_base = -log_q[token], -log_b[token]
        kld = float((np.exp(log_b) * (log_b - log_q)).sum())
        difference = math.exp(-nll) - math.exp(-nll_base)
        values = (nll, nll**2, nll_base, nll_base**2, nll * nll_base, kld, kld**2)
        values += (difference, difference**2, difference**4, float(b.argmax() == q.argmax()))
        for name, value in zip(names, values, strict=True):
            sums[name] += value
        klds.append(kld)

    n = 200

    def mean_and_error(first: str, second: str) -> tuple[float, float]:
        mean = sums[first] / n
        return mean, math.sqrt((sums[second] / n - mean * mean) / (n - 1))

    own, own_error = mean_and_error("nll", "nll2")
    other, other_error = mean_and_error("base", "base2")
    shared = (sums["both"] / n - own * other) / (n - 1)
    ratio_error = math.sqrt(own_error**2 + other_error**2 - 2 * shared)
    square, square_error = mean_and_error("d2", "d4")
    expected = {
        "kld": mean_and_error("kld", "kld2"),
        "delta_p": mean_and_error("d", "d2"),
        "delta_p_rms": (math.sqrt(square), 0.5 / math.sqrt(square) * square_error),
        "perplexity": (math.exp(own), math.exp(own) * own_error),
        "perplexity_base": (math.exp(other), math.exp(other) * other_error),
        "log_ratio": (own - other, ratio_error),
        "ratio": (math.exp(own - other), math.exp(own - other) * ratio_error),
        "same_top": (sums["same"] / n, math.sqrt(sums["same"] / n * (1 - sums["same"] / n) / (n - 1))),
    }
    for name, (value, error) in expected.items():
        assert getattr(report, name) == pytest.approx(value, rel=1e-8), name
        assert getattr(report, f"{name}_error") == pytest.approx(error, rel=1e-8), name
    assert report.correlation == pytest.approx(shared / (own_error * other_error))
    assert (report.kld_max, report.kld_min) == (pytest.approx(max(klds)), pytest.approx(min(klds)))
    for percent, value in report.kld_percentiles.items():
        assert value == pytest.approx(float(np.percentile(klds, float(percent))), rel=1e-9)
    assert list(report.kld_percentiles) == ["99.9", "99", "95", "90", "50", "10", "5", "1", "0.1"]
    assert seen.mean() == (report.kld, report.kld_error)


def test_a_model_against_itself_has_moved_nowhere() -> None:
    base, _, ids = texts(20)
    seen = Divergence()
    seen.add(base, base, ids)
    report = seen.report()
    assert (report.kld, report.delta_p_rms, report.ratio, report.same_top) == (0.0, 0.0, 1.0, 1.0)
    assert report.ratio_error == pytest.approx(0.0, abs=1e-9)


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    base, logits, ids = texts(23)
    whole, pieces = Divergence(), Divergence()
    whole.add(base, logits, ids)
    monkeypatch.setattr(divergence, "_PIECE_VALUES", 100)
    pieces.add(base, logits, ids)
    assert pieces.positions == whole.positions == 23
    assert pieces.report() == whole.report()


def test_a_divergence_that_float32_cannot_see_is_seen() -> None:
    base, _, ids = texts(50)
    moved = base.double() + 1e-6 * torch.randn(base.shape, generator=torch.Generator().manual_seed(1))
    seen = Divergence()
    seen.add(base, moved, ids)
    assert 1e-14 < seen.mean()[0] < 1e-11  # half the variance of the changes, about 5e-13


def test_llama_cpp_scores_255_positions_of_512() -> None:
    assert scored_positions(512) == slice(256, 511)
    assert scored_positions(512, whole=True) == slice(0, 511)
    with pytest.raises(DataError, match="rows of 2 tokens have no position"):
        scored_positions(2)


def test_what_cannot_be_scored_is_told() -> None:
    with pytest.raises(DataError, match="no position was scored"):
        Divergence().report()
    with pytest.raises(DataError, match="not a finite number"):
        Divergence().add(torch.tensor([[math.nan, 0.0]]), torch.zeros(1, 2), torch.tensor([0]))


def test_a_table_that_was_kept_gives_the_same_report() -> None:
    base, logits, ids = texts(23)
    whole, kept = Divergence(), Divergence()
    whole.add(base, logits, ids)
    kept.add_table(whole.table()[:, :10])
    kept.add_table(whole.table()[:, 10:])
    assert kept.report() == whole.report() and whole.table().shape == (5, 23)
