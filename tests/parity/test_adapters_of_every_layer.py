"""Adapters on all that `--lora` trains, in layers of every new kind: guessed ahead, several texts at once.

The slow twin of each text is a model that has its adapter in its matrices, by PyTorch, without guesses.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from adapters_by_hand import GREEDY, merged, write
from family_models import (
    FALCON_H1,
    GEMMA4_EXPERTS,
    GEMMA4_SMALL,
    GROUPS,
    LATENT,
    ONE_BRANCH,
    SPARSE_BRANCH,
    UNTIED,
)
from test_kernels_against_modules import make_model
from torch import nn

from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.request import Request
from llmkit.kernels.library import available, why_not
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.targets import lora_targets
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.transformer import Transformer

KERNELS = [
    "torch",
    pytest.param("native", marks=pytest.mark.skipif(not available(), reason=f"the library {why_not()}")),
]
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention beside a state": ("falcon_h1", FALCON_H1),
    "a branch a layer, experts": ("nemotron_h", {**ONE_BRANCH, **SPARSE_BRANCH}),
    "own embeddings, shared keys": ("gemma4_text", GEMMA4_SMALL),
    "experts beside an MLP": ("gemma4_text", {**GEMMA4_EXPERTS, **UNTIED}),
    "latents": ("deepseek_v3", {**LATENT, **GROUPS, "q_lora_rank": 20}),
}
NAMES = ("plain", None, "lengths", "plain")
REPEATED = [7, 41, 5, 66, 23, 12]


@pytest.fixture(params=MODELS, scope="module")
def model(request: pytest.FixtureRequest) -> Transformer:
    return make_model(*MODELS[request.param])


@pytest.fixture(scope="module")
def adapters(model: Transformer) -> dict[str, AdapterWeights]:
    return {"plain": _drawn(model, dora=False), "lengths": _drawn(model, dora=True)}


@pytest.fixture(scope="module")
def expected(model: Transformer, adapters: dict[str, AdapterWeights]) -> list[list[int]]:
    """What models with one adapter each write, a text at a time."""
    twins = {None: model} | {name: merged(model, one) for name, one in adapters.items()}
    return [write(Engine(twins[one.adapter]), [replace(one, adapter=None)])[0] for one in _asked()]


def _drawn(model: Transformer, *, dora: bool) -> AdapterWeights:
    """Of every target of all-linear."""
    draw = torch.Generator().manual_seed(1 + dora)
    modules = {}
    for target in lora_targets(model.config, LoraConfig()):
        module = model.get_submodule(target.name)
        assert isinstance(module, nn.Linear)
        a = torch.randn(3, module.in_features, generator=draw) * 0.3
        b = torch.randn(module.out_features, 3, generator=draw) * 0.3
        lengths = torch.rand(module.out_features, generator=draw) + 0.5 if dora else None
        modules[target.name] = LowRank(a, b, 0.4, lengths)
    return AdapterWeights(modules)


def _asked() -> list[Request]:
    prompts = [tuple((REPEATED * 4)[number : 17 + 2 * number]) for number in range(len(NAMES))]
    return [Request(ids, GREEDY, adapter=name) for ids, name in zip(prompts, NAMES, strict=True)]


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("kernels", KERNELS)
def test_texts_of_different_adapters_with_guesses_are_those_of_merged_models(
    kernels: str, model: Transformer, adapters: dict[str, AdapterWeights], expected: list[list[int]]
) -> None:
    engine = Engine(
        pack_model(model) if kernels == "native" else model,
        EngineConfig(positions=400, block_tokens=4, max_texts=4, pass_tokens=19),
        proposer=PromptLookup(shortest=1),
    )
    for name, one in adapters.items():
        engine.adapters.add(prepare_adapter(model, name, one))
    assert write(engine, _asked()) == expected
    report = engine.speculation()
    assert report is not None and report.proposed_tokens > 0
    assert write(engine, _asked()) == expected  # on top of what is kept of each, under its adapter
    assert engine.counts.cached_tokens > 0
    assert len({tuple(text) for text in expected}) == len(NAMES)
