"""The prefill case: the right token, from the right depth, every time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.weights import PackedModel
from llmkit.errors import UsageError
from llmkit.kernels.library import available
from llmkit.model.transformer import Transformer
from llmkit.probe.config import BenchPrefillConfig
from llmkit.workflows.bench.peer import as_transformers
from llmkit.workflows.bench.prefill import Prefill, build, check
from llmkit.workflows.bench.source import open_source
from tests.model.recurrent.conftest import FIELDS, hybrid

Pack = Callable[[Transformer], Transformer | PackedModel]
with_kernels = pytest.param(pack_model, marks=pytest.mark.skipif(not available(), reason="no kernels"))
by_both = pytest.mark.parametrize("pack", [lambda model: model, with_kernels], ids=["torch", "kernels"])


@pytest.mark.parametrize("depth", [0, 6])
def test_llmkit_and_the_peer_find_the_same_token(tiny_model: Callable[..., Path], depth: int) -> None:
    pytest.importorskip("transformers")
    model = open_source(tiny_model(), None).load("float32", 0)
    point = {"prompt": 10, "depth": depth, "threads": 1, "dtype": "float32", "weights": "stored"}
    ours, peer = build(model, as_transformers(model), point, BenchPrefillConfig(seed=5))
    assert (ours.engine, peer.engine) == ("llmkit", "transformers") and ours.work == peer.work
    assert peer.prepare is not None
    peer.prepare()
    assert peer.run() == ours.run()


def test_prompt_and_depth_must_fit_together(tiny_model: Callable[..., Path]) -> None:
    config = open_source(tiny_model(), None).config  # 32 positions
    check(config, {"prompt": 29, "depth": 2})
    with pytest.raises(UsageError):
        check(config, {"prompt": 30, "depth": 2})  # no place for the token that is found


@by_both
@pytest.mark.parametrize("depth", [0, 6, 16])
def test_every_prompt_is_read_anew_and_its_token_found(
    tiny_model: Callable[..., Path], pack: Pack, depth: int
) -> None:
    model = open_source(tiny_model(), None).load("float32", 0)
    ids = torch.randint(48, (10 + depth,), generator=torch.Generator().manual_seed(3))
    run = Prefill(pack(model), ids, depth)
    for turn in range(3):
        computed = run._engine.counts.computed_tokens
        expected = torch.cat((ids[:depth], ids[depth:].roll(-turn)))
        with torch.inference_mode():
            assert run() == int(model(expected[None])[0, -1].argmax())
        assert run._engine.counts.computed_tokens - computed == 10 + (0 if turn else depth)


@by_both
@pytest.mark.parametrize("name", FIELDS)
def test_states_go_on_from_the_state_before_a_prompt(pack: Pack, name: str) -> None:
    model, ids = hybrid(name), torch.randint(40, (26,), generator=torch.Generator().manual_seed(3))
    run = Prefill(pack(model), ids, 16)
    for turn in range(3):
        computed = run._engine.counts.computed_tokens
        with torch.inference_mode():
            expected = model(torch.cat((ids[:16], ids[16:].roll(-turn)))[None])[0, -1].argmax()
        assert run() == int(expected)
        assert run._engine.counts.computed_tokens - computed == 10


@by_both
def test_before_a_long_prompt_all_is_found_where_layers_see_a_window(
    tiny_model: Callable[..., Path], pack: Pack
) -> None:
    fields = {"model_type": "qwen2", "attention_bias": True, "max_position_embeddings": 1200}
    folder = tiny_model(**fields, sliding_window=20, sliding_layers=(1,))
    ids = torch.randint(48, (256 + 900,), generator=torch.Generator().manual_seed(3))
    run = Prefill(pack(open_source(folder, None).load("float32", 0)), ids, 256)
    counts = []
    for _ in range(3):
        before = run._engine.counts.computed_tokens
        run()
        counts.append(run._engine.counts.computed_tokens - before)
    assert counts == [1156, 900, 900]
