"""Several adapters at once change the base as the sum of their merged matrices does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters_by_hand import adapter

from llmkit.engine.adapters.mixed import mixed_adapter
from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.formats.gguf.write import GgufTensor, write_gguf
from llmkit.model.adapters.gguf import gguf_adapter
from llmkit.model.adapters.weights import AdapterWeights
from llmkit.model.gguf.save import gguf_model
from llmkit.model.transformer import Transformer
from tests.parity.llama_cpp import llama_cpp_logits

Make = Callable[..., Transformer]


@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.5, -0.3), (2.0,)])
@pytest.mark.parametrize("dora", [(False, False), (True, False), (True, True)])
def test_a_mix_adds_what_each_adapter_changes_at_its_scale(
    make_model: Make, scales: tuple[float, ...], dora: tuple[bool, bool]
) -> None:
    model = make_model()
    one, two = adapter(model, 1, dora=dora[0]), adapter(model, 2, rank=5, dora=dora[1])
    two = AdapterWeights({name: low for name, low in two.modules.items() if "up_proj" in name})
    weights = (one, two)[: len(scales)]
    made = [prepare_adapter(model, str(number), each) for number, each in enumerate(weights)]
    mix = mixed_adapter("mix", list(zip(made, scales, strict=True)))
    assert mix.additions.keys() == one.modules.keys()
    for place, addition in mix.additions.items():
        weight = model.get_submodule(place).weight
        assert isinstance(weight, torch.Tensor)
        change = sum(
            scale * (each.modules[place].merged(weight, 1.0) - weight)
            for each, scale in zip(weights, scales, strict=True)
            if place in each.modules
        )
        x = torch.randn(3, weight.shape[1], generator=torch.Generator().manual_seed(0))
        factors = 1.0 if addition.factors is None else addition.factors
        told = factors * (x @ weight.T) + x @ addition.a.T @ addition.b
        torch.testing.assert_close(told, x @ (weight + change).T, rtol=1e-4, atol=1e-4)


def test_what_is_cached_of_one_mix_is_not_found_by_another(make_model: Make) -> None:
    model = make_model()
    one, two = (prepare_adapter(model, "x", adapter(model, seed)) for seed in (1, 2))
    mixes = [[(one, 1.0)], [(two, 1.0)], [(one, 0.5)], [(one, 1.0), (two, 1.0)], [(one, 1.0), (two, 0.5)]]
    digests = [mixed_adapter("m", parts).digest for parts in mixes]
    assert len({one.digest, two.digest, *digests}) == 7
    assert mixed_adapter("n", mixes[3]).digest == digests[3]


def test_a_mix_scores_as_llama_cpp_does_with_both_adapters_at_their_scales(
    make_model: Make, tmp_path: Path
) -> None:
    model, ids, scales = make_model(), [3, 17, 5, 22, 9], (0.5, -0.3)
    weights = [adapter(model, seed) for seed in (1, 2)]
    content = gguf_model(model, "float32")
    metadata = content.metadata | {"tokenizer.ggml.model": "no_vocab"}
    base = _written(tmp_path / "base.gguf", metadata, content.tensors)
    files = []
    for number, one in enumerate(weights):
        told = gguf_adapter(one, model.config, None, "base")
        files.append(_written(tmp_path / f"{number}.gguf", told.metadata, told.tensors))
    engine, scores = Engine(model), {}
    made = [prepare_adapter(model, "x", one) for one in weights]
    engine.adapters.add(mixed_adapter("mix", list(zip(made, scales, strict=True))))
    engine.on_rows = lambda number, rows: scores.update({number: rows[-1].copy()})
    sampling = SamplingConfig(max_tokens=1, temperature=0.0)
    for name in ("mix", None):
        list(engine.run(Request(tuple(ids), sampling, adapter=name)))
    theirs = llama_cpp_logits(base, ids, *files, scales=scales)[-1]
    assert np.abs(scores[0] - theirs).max() < 1e-3 < np.abs(scores[1] - theirs).max()


def _written(path: Path, metadata: Any, tensors: list[GgufTensor]) -> Path:
    with path.open("wb") as stream:
        write_gguf(stream, metadata, tensors)
    return path
