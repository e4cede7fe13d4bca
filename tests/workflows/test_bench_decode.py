"""The decode case: as many steps as tokens, the same text as the peer's, the bytes that a step reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.step import DecodeStep
from llmkit.errors import UsageError
from llmkit.probe.config import BenchDecodeConfig
from llmkit.workflows.bench_decode import build, cache_positions, check, streamed_bytes
from llmkit.workflows.bench_peer import as_transformers
from llmkit.workflows.bench_source import open_source

Build = Callable[..., Path]


def point_of(depth: int, tokens: int = 6) -> dict[str, Any]:
    return {"tokens": tokens, "depth": depth, "threads": 1, "dtype": "float32"}


@pytest.mark.parametrize("depth", [0, 1, 9])
def test_a_run_makes_one_step_a_token_and_no_prefill_but_the_first(
    tiny_model: Build, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    model = open_source(tiny_model(), None).load("float32", 0)
    (case,) = build(model, None, point_of(depth), BenchDecodeConfig())
    steps, passes, held = 0, 0, []
    step, hidden = DecodeStep.__call__, model.hidden

    def counted_step(self: Any, token: int, cache: Any) -> Any:
        nonlocal steps
        steps += 1
        held.append(cache.length)
        return step(self, token, cache)

    def counted_pass(*args: Any, **given: Any) -> Any:
        nonlocal passes
        passes += 1
        return hidden(*args, **given)

    monkeypatch.setattr(DecodeStep, "__call__", counted_step)
    monkeypatch.setattr(model, "hidden", counted_pass)
    first, second = case.run(), case.run()
    assert first == second and len(first) == 6  # type: ignore[arg-type]
    assert (steps, passes) == (12, 1)
    assert held[6:] == list(range(max(1, depth), max(1, depth) + 6))


@pytest.mark.parametrize("depth", [0, 9])
def test_llmkit_and_the_peer_write_the_same_text(tiny_model: Build, depth: int) -> None:
    pytest.importorskip("transformers")
    model = open_source(tiny_model(), None).load("float32", 0)
    ours, peer = build(model, as_transformers(model), point_of(depth), BenchDecodeConfig(seed=2))
    assert peer.prepare is not None and peer.work == ours.work
    for _ in range(2):
        peer.prepare()
        assert peer.run() == ours.run()


def test_a_step_reads_every_weight_but_the_rows_it_looks_up(tiny_model: Build) -> None:
    # 48 x 8 embedding; the rest of TINY: 2 layers of 8x8 q and o, 8x4 k and v, 3 of 8x12, 2 norms; a norm
    rest = 2 * (2 * 64 + 2 * 32 + 3 * 96 + 16) + 8
    tied = open_source(tiny_model("tied"), None).load("float32", 0)
    assert streamed_bytes(tied) == 4 * (rest + 48 * 8)
    untied = open_source(tiny_model("untied", tie_word_embeddings=False), None).load("bfloat16", 0)
    assert streamed_bytes(untied) == 2 * (rest + 48 * 8)  # the head, not the embedding
    learned = open_source(None, "nanogpt-cpu").load("float32", 0)
    table = learned.model.embed_positions
    assert table is not None
    assert streamed_bytes(learned) == sum(one.nbytes for one in learned.parameters()) - 64 * 128 * 4


def test_a_text_must_fit(tiny_model: Build) -> None:
    config = open_source(tiny_model(), None).config  # 32 positions
    check(config, point_of(10, tokens=21))
    with pytest.raises(UsageError):
        check(config, point_of(10, tokens=22))
    assert cache_positions(point_of(10, tokens=21)) == 31
