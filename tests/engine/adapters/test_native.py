"""The kernels' additions beside the modules': the same texts, for every place that products go to."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from adapters_by_hand import GREEDY, adapter, merged, prompt, write
from family_models import SIZES, their_config

from llmkit.engine.adapters.native import why_not_added_natively
from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.engine.adapters.values import Adapter, Addition
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.request import Request
from llmkit.errors import UsageError
from llmkit.kernels.library import available, why_not
from llmkit.kernels.packed import PackedFormat
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from tests.model.recurrent.conftest import DELTA, FIELDS, hybrid, no_family

Make = Callable[..., Transformer]
pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
BIASED = {"attention_bias": True, "output_bias": True, "mlp_bias": True}
FAMILIES = {  # norms before, after and on both sides; scaled, parallel and plain branches; pairs side by side
    "llama": {"attention_bias": True, "mlp_bias": True},
    **{"olmo2": {}, "gemma2": {"sliding_window": 16}, "granite": {"residual_multiplier": 0.5}},
    **{"cohere": {}, "gpt_neox": {}, "gpt2": {}, "phi3": {}},
}
NAMES = ("one", None, "two", "three", "one", None)


def bank(model: Transformer, *, native: bool, **sizes: Any) -> Engine:
    config = EngineConfig(**{"positions": 400, "block_tokens": 4, "max_texts": 6, "pass_tokens": 9} | sizes)
    engine = Engine(pack_model(model) if native else model, config)
    engine.adapters.load("one", adapter(model, 1))
    engine.adapters.add(prepare_adapter(model, "two", adapter(model, 2, rank=5, dora=True)))  # by its weights
    engine.adapters.load("three", adapter(model, 3, rank=17, only="_proj"), strength=0.5)
    return engine


def asked() -> list[Request]:
    return [Request(prompt(seed % 2, 21), GREEDY, adapter=name) for seed, name in enumerate(NAMES)]


def of_family(family: str, changes: dict[str, Any]) -> Transformer:
    theirs = their_config(family, changes, {**SIZES, "vocab_size": 40}).to_dict()
    model = Transformer(ModelConfig.from_hf({**theirs, "model_type": family})).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2, generator=draw)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_in_company_are_those_of_the_modules_and_those_of_each_alone(family: str) -> None:
    model = of_family(family, FAMILIES[family])
    together = write(bank(model, native=True), asked())
    assert together == write(bank(model, native=False), asked())
    assert together == [write(bank(model, native=True), [request])[0] for request in asked()]
    assert len({tuple(text) for text in together}) > 3


def scores(engine: Engine, requests: list[Request]) -> list[float]:
    found: dict[int, list[float]] = {engine.submit(request): [] for request in requests}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None and event.drawn.score is not None
            found[event.number].append(event.drawn.score.logprob)
    return found[0]


def test_the_base_has_the_same_bits_with_adapters_beside_it(make_model: Make) -> None:
    model = make_model(**BIASED)
    base = Request(prompt(0, 21), replace(GREEDY, logprobs=0))
    others = [replace(base, adapter=name) for name in ("one", "two", "three")]
    alone = scores(bank(model, native=True, reuse=False), [base])
    assert scores(bank(model, native=True, reuse=False), [base, *others]) == alone
    mine = scores(bank(model, native=True, reuse=False), [others[1]])
    assert scores(bank(model, native=True, reuse=False), [others[1], base, others[0]]) == mine


def test_rounded_weights_and_an_int8_cache_take_additions_unrounded(make_model: Make) -> None:
    model = make_model(hidden_size=64, intermediate_size=96)
    weights = adapter(model, 1)
    engine = Engine(pack_model(model, PackedFormat.INT8), EngineConfig(positions=200, kv_dtype="int8"))
    engine.adapters.load("one", weights)
    twin = Engine(merged(model, weights), EngineConfig(positions=200))
    found = write(engine, [Request(prompt(0, 9), GREEDY, adapter="one")])[0]
    assert found[:4] == write(twin, [Request(prompt(0, 9), GREEDY)])[0][:4]


def test_adapters_of_attention_run_beside_experts() -> None:
    model = of_family("qwen3_moe", {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 24})
    texts = []
    for computes in (model, pack_model(model)):
        engine = Engine(computes, EngineConfig(positions=200))
        engine.adapters.load("one", adapter(model, 1, only="self_attn"))
        texts.append(write(engine, [Request(prompt(0, 9), GREEDY, adapter=name) for name in ("one", None)]))
    assert texts[0] == texts[1]
    assert texts[0][0] != texts[0][1]


def test_what_the_kernels_add_nothing_to_is_named(make_model: Make) -> None:
    model = make_model()
    assert why_not_added_natively(adapter(model, 1).modules, model.config) is None
    place = "model.layers.0.mlp.shared_expert.up_proj"
    assert why_not_added_natively([place], model.config) == f"adds nothing to {place}"


WITH_STATES = {  # every place of theirs: inputs apart, in one and by head, gated queries, one branch a layer
    **{name: hybrid(name) for name in FIELDS},
    "by head": no_family("qwen3_5_text", delta=replace(DELTA, inputs_by_head=True)),
}


@pytest.mark.parametrize("name", WITH_STATES)
def test_every_product_of_a_layer_of_state_and_of_gated_attention_is_added_to(name: str) -> None:
    model = WITH_STATES[name]
    assert why_not_added_natively(adapter(model, 1).modules, model.config) is None
    ours, theirs = (write(bank(model, native=native), asked()) for native in (True, False))
    assert ours == theirs
    assert len({tuple(text) for text in ours}) > 3
    mixer = "conv" if model.config.has_both else "self_attn"  # that layer keeps a state, and may attend too
    wrong = f"model.layers.0.{mixer}.k_proj"
    assert why_not_added_natively([wrong], model.config) == f"adds nothing to {wrong}"


def test_a_running_engine_refuses_it_and_goes_on(make_model: Make) -> None:
    engine = bank(make_model(), native=True)
    place = "model.layers.0.mlp.shared_expert.up_proj"
    odd = Adapter("odd", {place: Addition(torch.ones(1, 16), torch.ones(1, 24))}, "")
    with pytest.raises(UsageError, match="the native library adds nothing to"):
        engine.adapters.add(odd)
    assert "odd" not in engine.adapters.names
    assert engine.adapters.unload("one")
    assert write(engine, [Request(prompt(0, 21), GREEDY)])
