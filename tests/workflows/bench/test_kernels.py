"""What computes a case of a bench, and the bytes that a step of it reads."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.engine.module_weights import pack_model
from llmkit.errors import ConfigError, UsageError
from llmkit.kernels.library import available
from llmkit.kernels.packed import ROUNDED_FORMATS
from llmkit.workflows.bench import kernels as bench_kernels
from llmkit.workflows.bench.kernels import packed_bytes, runs_on_kernels, streamed_bytes
from llmkit.workflows.bench.source import open_source

Build = Callable[..., Path]


def test_a_step_reads_every_weight_and_of_tables_the_rows_it_looks_up(tiny_model: Build) -> None:
    # 48 x 8 embedding; the rest of TINY: 2 layers of 8x8 q and o, 8x4 k and v, 3 of 8x12, 2 norms; a norm
    rest = 2 * (2 * 64 + 2 * 32 + 3 * 96 + 16) + 8
    tied = open_source(tiny_model("tied"), None).config
    assert streamed_bytes(tied, "float32", "stored") == 4 * (rest + 48 * 8 + 8)
    untied = open_source(tiny_model("untied", tie_word_embeddings=False), None).config
    assert streamed_bytes(untied, "bfloat16", "stored") == 2 * (rest + 48 * 8 + 8)  # the head, and one row
    assert streamed_bytes(untied, "bfloat16", "stored", batch=3) == 2 * (rest + 48 * 8 + 3 * 8)
    assert streamed_bytes(untied, "bfloat16", "int4") == pytest.approx(4.5 / 8 * (rest + 49 * 8), abs=1)
    sparse = open_source(None, "tiny-moe").load("float32", 0)
    experts = sparse.config.experts
    assert experts is not None
    idle = experts.num_experts - experts.num_experts_per_tok  # of three matrices each
    idle *= 3 * sparse.config.hidden_size * experts.intermediate_size * len(experts.layers)
    table = 0 if sparse.config.tie_word_embeddings else sparse.model.embed_tokens.weight.nbytes
    row = 4 * sparse.config.hidden_size
    assert streamed_bytes(sparse.config, "float32", "stored") == (
        sum(one.nbytes for one in sparse.parameters()) - table + row - 4 * idle
    )


@pytest.mark.skipif(not available(), reason="no kernels")
def test_packed_weights_are_as_large_as_said_and_the_model_keeps_its_own() -> None:
    model = open_source(None, "tiny").load("float32", 0)  # rows of whole groups: no padding
    before = model.model.embed_tokens.weight.clone()
    matrices = sum(one.numel() for one in model.parameters() if one.dim() > 1)
    for weights in ("stored", "int8", "int4"):
        said = packed_bytes(matrices, "float32", weights)
        assert pack_model(model, ROUNDED_FORMATS.get(weights)).nbytes == pytest.approx(said, rel=0.02)
    assert torch.equal(model.model.embed_tokens.weight, before)
    assert model.model.layers[0].mlp.down_proj.weight.numel() > 0  # type: ignore[union-attr]


def test_torch_computes_where_it_is_asked_for_and_nothing_that_is_rounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not runs_on_kernels("float32", "stored", "torch")
    with pytest.raises(UsageError, match="--weights int8 needs the native kernels: --kernels torch"):
        runs_on_kernels("float32", "int8", "torch")
    with pytest.raises(ConfigError, match="int3"):
        runs_on_kernels("float32", "int3", "auto")
    monkeypatch.setattr(bench_kernels, "why_not_natively", lambda *_: "not built")
    assert not runs_on_kernels("float32", "stored", "auto")
    with pytest.raises(UsageError, match="--kernels native needs the native kernels: not built"):
        runs_on_kernels("float32", "stored", "native")
