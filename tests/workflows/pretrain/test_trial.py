"""A hundred updates of a run that leave no file, and what they tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import GateFailed
from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT
from llmkit.train.config import PretrainConfig
from llmkit.workflows.pretrain.job import PretrainFiles
from llmkit.workflows.pretrain.trial import find_lr, overfit_batch, try_out

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def trial(shards: Path, tmp_path: Path) -> Callable[..., Any]:
    """Call one of them on packed shards and a small model."""

    def call(function: Callable[..., Any], *, fail_above: float | None = None, **config: Any) -> Any:
        files = PretrainFiles(
            data=(shards,), out=tmp_path / "run", overrides=SIZES | {"num_key_value_heads": 1}
        )
        settings = PretrainConfig(device="cpu", threads=1, batch_rows=2, **config)
        how: dict[str, Any] = {"invocation": Invocation("pretrain"), "progress": SILENT}
        if function is overfit_batch:
            how["fail_above"] = fail_above
        report = function(files, settings, **how)
        assert not (tmp_path / "run").exists()
        return report

    return call


def test_one_batch_is_learnt_and_nothing_is_written(trial: Callable[..., Any]) -> None:
    report = trial(overfit_batch, lr=0.03)
    assert [point.step for point in report.curve] == list(range(1, 101))
    assert report.first_loss == report.curve[0].loss > 2 * report.loss
    assert (report.loss, report.rows, report.lr) == (report.curve[-1].loss, 2, 0.03)


def test_a_rate_too_low_to_learn_by_heart_fails_its_gate(trial: Callable[..., Any]) -> None:
    with pytest.raises(GateFailed, match="loss of one batch is above 1 after 100 updates"):
        trial(overfit_batch, lr=1e-7, fail_above=1.0)


def test_a_range_test_tells_a_rate_between_too_low_and_too_high(trial: Callable[..., Any]) -> None:
    report = trial(find_lr, lr=0.5)
    assert report.run_lr == 0.5 and report.optimizer == "adamw"
    assert 1e-4 < report.suggested_lr < report.lowest_lr <= 1
    assert report.steepest_lr <= report.lowest_lr
    rates = [point.lr for point in report.curve]
    assert rates == sorted(rates) and rates[0] == pytest.approx(1e-6)
    assert report.diverged == (len(rates) < 100)


def test_what_is_tried_is_a_full_batch_where_the_run_would_begin_with_less(trial: Callable[..., Any]) -> None:
    plain, ramp = trial(find_lr, lr=0.5), trial(find_lr, lr=0.5, batch_ramp="1:1000")
    assert [point.loss for point in ramp.curve] == [point.loss for point in plain.curve]


def test_which_of_the_two_is_one_flag(shards: Path, tmp_path: Path) -> None:
    files = PretrainFiles(data=(shards,), out=tmp_path / "run", overrides=SIZES | {"num_key_value_heads": 1})
    how: dict[str, Any] = {"fail_above": None, "invocation": Invocation("pretrain"), "progress": SILENT}
    config = PretrainConfig(device="cpu", threads=1, batch_rows=2, optimizer="muon")
    assert try_out(files, config, rates=True, **how).schema == "llmkit.pretrain-find-lr/1"
    assert try_out(files, config, rates=False, **how).schema == "llmkit.pretrain-overfit/1"
