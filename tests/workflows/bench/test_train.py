"""The training case: random rows, real updates, one optimiser state for a whole sweep."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from llmkit.errors import ConfigError, UsageError
from llmkit.probe.config import BenchTrainConfig
from llmkit.train.trainer import StepResult
from llmkit.workflows.bench import train as bench_train
from llmkit.workflows.bench.peer import as_transformers
from llmkit.workflows.bench.source import open_source
from llmkit.workflows.bench.train import RandomRows, TrainCases, check, resolve_dtype, resolve_threads

Build = Callable[..., Path]
POINT = {"batch_rows": 3, "seq_len": 8, "threads": 1, "dtype": "float32"}


def test_rows_are_whole_documents_of_the_models_ids_from_the_seed() -> None:
    rows = RandomRows(5, 8, vocab_size=10, seed=1)
    got = rows.read(np.array([4, 0]))
    assert len(rows) == 5 and got.tokens.shape == (2, 9) and got.tokens.max() < 10
    assert got.loss.all() and not got.segments.any()
    assert (RandomRows(5, 8, 10, 1).tokens == rows.tokens).all()
    assert (RandomRows(5, 8, 10, 2).tokens != rows.tokens).any()


def test_an_update_learns_from_every_target_and_changes_the_weights(tiny_model: Build) -> None:
    model = open_source(tiny_model(), None).load_to_train(0)
    before = model.model.embed_tokens.weight.clone()
    with ExitStack() as stack:
        (case,) = TrainCases(model, None, BenchTrainConfig(), stack).build(POINT)
        result = case.run()
    assert isinstance(result, StepResult)
    assert (result.tokens, result.skipped, case.work.tokens) == (24, None, 24)
    assert not torch.equal(before, model.model.embed_tokens.weight)


def test_a_sweep_keeps_one_optimiser_state(tiny_model: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bench_train.Trainer] = []
    trainer = bench_train.Trainer
    monkeypatch.setattr(
        bench_train, "Trainer", lambda *args, **given: made.append(trainer(*args, **given)) or made[-1]
    )
    model = open_source(tiny_model(), None).load_to_train(0)
    with ExitStack() as stack:
        cases = TrainCases(model, None, BenchTrainConfig(), stack)
        for rows in (1, 2):
            (case,) = cases.build({**POINT, "batch_rows": rows})
            case.run()
    assert made[0].optimizer is made[1].optimizer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peers_first_loss_is_that_of_plain_cross_entropy(tiny_model: Build, dtype: str) -> None:
    pytest.importorskip("transformers")
    model = open_source(tiny_model(), None).load_to_train(0)
    point = {**POINT, "dtype": dtype}
    ids = torch.from_numpy(RandomRows(24, 8, 48, 0).tokens[:3, :-1].astype("int64"))
    with torch.no_grad():
        scores = model(ids)[:, :-1].reshape(-1, 48)
    expected = torch.nn.functional.cross_entropy(scores, ids[:, 1:].reshape(-1))
    with ExitStack() as stack:
        ours, peer = TrainCases(model, as_transformers(model), BenchTrainConfig(), stack).build(point)
        assert peer.run() == pytest.approx(float(expected), rel=1e-5 if dtype == "float32" else 0.02)
        assert peer.work == ours.work
        before = model.model.embed_tokens.weight.clone()
        peer.run()
    assert not torch.equal(before, model.model.embed_tokens.weight)  # the weights are shared


def test_what_is_left_open_is_what_pretrain_takes(tiny_model: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    config = open_source(tiny_model(), None).config
    assert resolve_dtype(config, "bfloat16") == "bfloat16"
    assert resolve_dtype(config, "auto") == "float32"  # narrow
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert resolve_threads(config, 1, 8) == 1
    assert resolve_threads(open_source(None, "base").config, 1, 512) == 7


def test_rows_must_fit_and_float16_does_not_train(tiny_model: Build) -> None:
    config = open_source(tiny_model(), None).config  # 32 positions
    check(config, {**POINT, "seq_len": 32})
    with pytest.raises(UsageError):
        check(config, {**POINT, "seq_len": 33})
    with pytest.raises(ConfigError, match="float16"):
        check(config, {**POINT, "dtype": "float16"})
