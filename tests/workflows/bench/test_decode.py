"""The decode case: as many steps as tokens, and the same texts as the peer's, one or several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.engine import EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.step import FlatStep
from llmkit.errors import UsageError
from llmkit.kernels.library import available
from llmkit.probe.config import BenchDecodeConfig
from llmkit.workflows.bench.decode import build, cache_positions, check
from llmkit.workflows.bench.peer import as_transformers
from llmkit.workflows.bench.source import open_source

Build = Callable[..., Path]


def point_of(depth: int, tokens: int = 6, batch: int = 1) -> dict[str, Any]:
    sizes = {"tokens": tokens, "depth": depth, "batch": batch}
    return {**sizes, "threads": 1, "dtype": "float32", "weights": "stored"}


@pytest.mark.parametrize("depth", [0, 1, 9, 14])
def test_a_run_makes_one_flat_step_a_token_and_what_is_held_is_read_outside_its_time(
    tiny_model: Build, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    model = open_source(tiny_model(), None).load("float32", 0)
    (case,) = build(model, None, point_of(depth), BenchDecodeConfig())
    steps: list[int] = []
    passes: list[int] = []
    step, hidden = FlatStep.__call__, model.hidden

    def counted_step(self: Any, token: int, at: int, first: int, memory: Any) -> Any:
        steps.append(at)
        return step(self, token, at, first, memory)

    def counted_pass(ids: Any, **given: Any) -> Any:
        passes.append(ids.shape[1])
        return hidden(ids, **given)

    monkeypatch.setattr(FlatStep, "__call__", counted_step)
    monkeypatch.setattr(model, "hidden", counted_pass)
    texts, held = [], max(1, depth)
    for _ in range(3):
        assert case.prepare is not None
        case.prepare()
        passes.clear()
        steps.clear()
        texts.append(case.run())
        assert passes == [] and steps == list(range(held, held + 6))
    assert texts[0] == texts[1] == texts[2] and [len(one) for one in texts[0]] == [6]  # type: ignore[attr-defined]


def test_of_what_is_held_the_whole_blocks_are_read_once(
    tiny_model: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_source(tiny_model(), None).load("float32", 0)
    (case,) = build(model, None, point_of(20), BenchDecodeConfig())
    passes: list[int] = []
    hidden = model.hidden
    monkeypatch.setattr(
        model, "hidden", lambda ids, **given: passes.append(ids.shape[1]) or hidden(ids, **given)
    )
    for _ in range(3):
        assert case.prepare is not None
        case.prepare()
        case.run()
    assert passes == [20, 20 % 16, 20 % 16]


@pytest.mark.parametrize(
    "native", [False, pytest.param(True, marks=pytest.mark.skipif(not available(), reason="no kernels"))]
)
@pytest.mark.parametrize(("depth", "batch"), [(0, 1), (9, 1), (20, 3)])
def test_llmkit_and_the_peer_write_the_same_texts(
    tiny_model: Build, depth: int, batch: int, native: bool
) -> None:
    pytest.importorskip("transformers")
    model = open_source(tiny_model(), None).load("float32", 0)
    computes = pack_model(model) if native else model
    settings = BenchDecodeConfig(seed=2)
    ours, peer = build(computes, as_transformers(model), point_of(depth, batch=batch), settings)
    assert peer.prepare is not None and peer.work == ours.work and ours.work.tokens == 6 * batch
    for _ in range(2):
        peer.prepare()
        assert ours.prepare is not None
        ours.prepare()
        assert peer.run() == ours.run()


def test_texts_that_take_several_passes_to_read_all_begin_at_the_same_step(
    tiny_model: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EngineConfig, "pass_tokens", 32)  # two of them in a pass, at most
    model = open_source(tiny_model(), None).load("float32", 0)
    (case,) = build(model, None, point_of(21, batch=3), BenchDecodeConfig())
    for _ in range(2):
        assert case.prepare is not None
        case.prepare()
        assert [len(text) for text in case.run()] == [6, 6, 6]  # type: ignore[attr-defined]


def test_a_text_must_fit(tiny_model: Build) -> None:
    config = open_source(tiny_model(), None).config  # 32 positions
    check(config, point_of(10, tokens=21))
    with pytest.raises(UsageError):
        check(config, point_of(10, tokens=22))
    assert cache_positions(point_of(10, tokens=21)) == 31
