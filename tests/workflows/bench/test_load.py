"""The load case: a folder opened from its files each time, with the token that the loaded model gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.model.load import load_model
from llmkit.probe.config import BenchLoadConfig
from llmkit.workflows.bench.load import build, check, first_token, first_token_of_peer
from llmkit.workflows.bench.plan import plan_bench
from llmkit.workflows.bench.source import open_source

POINT: dict[str, int | str] = {"threads": 1, "dtype": "float32"}


def test_a_run_reads_the_files_as_they_are_now(tiny_model: Callable[..., Path]) -> None:
    folder, other = tiny_model("model"), tiny_model("other", initializer_range=0.5)
    (case,) = build(open_source(folder, None), False, POINT)
    with torch.inference_mode():
        expected = int(load_model(folder)(torch.tensor([[0]]))[0, -1].argmax())
    assert case.run() == expected == first_token(other, torch.float32)  # the same random weights
    (folder / "model.safetensors").unlink()
    with pytest.raises(Exception, match="model"):
        case.run()


def test_the_work_is_one_token_and_all_bytes_of_the_weights(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    (case,) = build(open_source(folder, None), False, POINT)
    weights = sum(one.nbytes for one in load_model(folder).parameters())
    assert (case.work.tokens, case.work.bytes_moved) == (1, weights)


def test_llmkit_and_the_peer_find_the_same_token(tiny_model: Callable[..., Path]) -> None:
    pytest.importorskip("transformers")
    folder = tiny_model()
    ours, peer = build(open_source(folder, None), True, POINT)
    assert (ours.engine, peer.engine) == ("llmkit", "transformers")
    assert ours.run() == peer.run() == first_token_of_peer(folder, torch.float32)


def test_a_shape_without_files_cannot_be_loaded(tiny_model: Callable[..., Path]) -> None:
    source = open_source(tiny_model() / "config.json", None)
    with pytest.raises(UsageError, match=r"config.json is a shape, and there are no files"):
        check(source)
    with pytest.raises(UsageError, match="tiny is a shape"):
        plan_bench(None, "tiny", BenchLoadConfig())
