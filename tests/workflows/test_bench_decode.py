"""The decode case: as many steps as tokens, the same text as the peer's, the bytes that a step reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.step import FlatStep
from llmkit.errors import UsageError
from llmkit.probe.config import BenchDecodeConfig
from llmkit.workflows.bench_decode import build, cache_positions, check, streamed_bytes
from llmkit.workflows.bench_peer import as_transformers
from llmkit.workflows.bench_source import open_source

Build = Callable[..., Path]


def point_of(depth: int, tokens: int = 6) -> dict[str, Any]:
    return {"tokens": tokens, "depth": depth, "threads": 1, "dtype": "float32"}


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
    assert texts[0] == texts[1] == texts[2] and len(texts[0]) == 6  # type: ignore[arg-type]


def test_what_is_held_is_read_once_where_it_is_longer_than_the_text(
    tiny_model: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_source(tiny_model(), None).load("float32", 0)
    (case,) = build(model, None, point_of(14), BenchDecodeConfig())
    passes: list[int] = []
    hidden = model.hidden
    monkeypatch.setattr(
        model, "hidden", lambda ids, **given: passes.append(ids.shape[1]) or hidden(ids, **given)
    )
    for _ in range(3):
        assert case.prepare is not None
        case.prepare()
        case.run()
    assert passes == [14]


@pytest.mark.parametrize("depth", [0, 9])
def test_llmkit_and_the_peer_write_the_same_text(tiny_model: Build, depth: int) -> None:
    pytest.importorskip("transformers")
    model = open_source(tiny_model(), None).load("float32", 0)
    ours, peer = build(model, as_transformers(model), point_of(depth), BenchDecodeConfig(seed=2))
    assert peer.prepare is not None and peer.work == ours.work
    for _ in range(2):
        peer.prepare()
        assert ours.prepare is not None
        ours.prepare()
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
    sparse = open_source(None, "tiny-moe").load("float32", 0)
    experts = sparse.config.experts
    assert experts is not None
    idle = experts.num_experts - experts.num_experts_per_tok  # of three matrices each
    idle *= 3 * sparse.config.hidden_size * experts.intermediate_size * len(experts.layers)
    table = 0 if sparse.config.tie_word_embeddings else sparse.model.embed_tokens.weight.nbytes
    assert streamed_bytes(sparse) == sum(one.nbytes for one in sparse.parameters()) - table - 4 * idle


def test_a_text_must_fit(tiny_model: Build) -> None:
    config = open_source(tiny_model(), None).config  # 32 positions
    check(config, point_of(10, tokens=21))
    with pytest.raises(UsageError):
        check(config, point_of(10, tokens=22))
    assert cache_positions(point_of(10, tokens=21)) == 31
