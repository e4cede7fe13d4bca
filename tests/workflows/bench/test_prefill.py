"""The prefill case: the right token, from the right depth, every time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.engine.module_weights import pack_model
from llmkit.errors import UsageError
from llmkit.kernels.library import available
from llmkit.probe.config import BenchPrefillConfig
from llmkit.workflows.bench import prefill as bench_prefill
from llmkit.workflows.bench.peer import as_transformers
from llmkit.workflows.bench.prefill import NativePrefill, Prefill, build, check
from llmkit.workflows.bench.source import open_source
from tests.model.recurrent.conftest import FIELDS, hybrid


@pytest.mark.parametrize("depth", [0, 6])
def test_a_prompt_after_some_depth_gives_the_token_of_one_full_pass(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    monkeypatch.setattr(bench_prefill, "PREFILL_TOKENS", 4)  # several passes
    model = open_source(tiny_model(), None).load("float32", 0)
    ids = torch.randint(48, (1, 10 + depth), generator=torch.Generator().manual_seed(3))
    run = Prefill(model, ids, depth)
    with torch.inference_mode():
        expected = int(model(ids)[0, -1].argmax())
    for _ in range(2):
        run.prepare()
        assert run() == expected


@pytest.mark.parametrize("depth", [0, 6])
def test_llmkit_and_the_peer_find_the_same_token(tiny_model: Callable[..., Path], depth: int) -> None:
    pytest.importorskip("transformers")
    model = open_source(tiny_model(), None).load("float32", 0)
    point = {"prompt": 10, "depth": depth, "threads": 1, "dtype": "float32", "weights": "stored"}
    ours, peer = build(model, as_transformers(model), point, BenchPrefillConfig(seed=5))
    assert (ours.engine, peer.engine) == ("llmkit", "transformers") and ours.work == peer.work
    for _ in range(2):
        assert peer.prepare is not None and ours.prepare is not None
        peer.prepare()
        ours.prepare()
        assert peer.run() == ours.run()


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("depth", [0, 6])
def test_layers_of_state_read_every_prompt_from_its_depth(name: str, depth: int) -> None:
    pytest.importorskip("transformers")
    model = hybrid(name)
    point = {"prompt": 10, "depth": depth, "threads": 1, "dtype": "float32", "weights": "stored"}
    cases = build(model, as_transformers(model), point, BenchPrefillConfig(seed=5))
    ids = torch.randint(40, (1, 10 + depth), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected = int(model(ids)[0, -1].argmax())
    for case in (*cases, *cases):
        assert case.prepare is not None
        case.prepare()
        assert case.run() == expected


def test_prompt_and_depth_must_fit_together(tiny_model: Callable[..., Path]) -> None:
    config = open_source(tiny_model(), None).config  # 32 positions
    check(config, {"prompt": 29, "depth": 2})
    with pytest.raises(UsageError):
        check(config, {"prompt": 30, "depth": 2})  # no place for the token that is found


@pytest.mark.skipif(not available(), reason="no kernels")
@pytest.mark.parametrize("depth", [0, 6, 16])
def test_the_kernels_read_every_prompt_anew_and_find_its_token(
    tiny_model: Callable[..., Path], depth: int
) -> None:
    model = open_source(tiny_model(), None).load("float32", 0)
    ids = torch.randint(48, (10 + depth,), generator=torch.Generator().manual_seed(3))
    run = NativePrefill(pack_model(model), ids, depth)
    for turn in range(3):
        computed = run._engine.counts.computed_tokens
        expected = torch.cat((ids[:depth], ids[depth:].roll(-turn)))
        with torch.inference_mode():
            assert run() == int(model(expected[None])[0, -1].argmax())
        assert run._engine.counts.computed_tokens - computed == 10 + (0 if turn else depth)


@pytest.mark.skipif(not available(), reason="no kernels")
@pytest.mark.parametrize("name", FIELDS)
def test_the_kernels_go_on_from_the_state_before_a_prompt(name: str) -> None:
    model, ids = hybrid(name), torch.randint(40, (26,), generator=torch.Generator().manual_seed(3))
    run = NativePrefill(pack_model(model), ids, 16)
    for turn in range(3):
        computed = run._engine.counts.computed_tokens
        with torch.inference_mode():
            expected = model(torch.cat((ids[:16], ids[16:].roll(-turn)))[None])[0, -1].argmax()
        assert run() == int(expected)
        assert run._engine.counts.computed_tokens - computed == 10


@pytest.mark.skipif(not available(), reason="no kernels")
def test_before_a_long_prompt_all_is_found_where_layers_see_a_window(tiny_model: Callable[..., Path]) -> None:
    fields = {"model_type": "qwen2", "attention_bias": True, "max_position_embeddings": 1200}
    folder = tiny_model(**fields, sliding_window=20, sliding_layers=(1,))
    ids = torch.randint(48, (256 + 900,), generator=torch.Generator().manual_seed(3))
    run = NativePrefill(pack_model(open_source(folder, None).load("float32", 0)), ids, 256)
    counts = []
    for _ in range(3):
        before = run._engine.counts.computed_tokens
        run()
        counts.append(run._engine.counts.computed_tokens - before)
    assert counts == [1156, 900, 900]
