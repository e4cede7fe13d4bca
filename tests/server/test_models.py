"""A model is found by its name, a near miss is told, and a key sees only what it may use."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.transformer import Transformer
from llmkit.server.adapters import AdapterSpec, ServedAdapters
from llmkit.server.errors import ApiError
from llmkit.server.gate import Caller
from llmkit.server.models import Models
from llmkit.server.served import Served
from llmkit.tokens.tokenizer import Tokenizer
from tests.server.conftest import Serving


def model(name: str) -> Served:
    adapters = ServedAdapters([(AdapterSpec("poet", "p"), 0)])
    told = SimpleNamespace(name=name, adapters=adapters, fingerprint=f"fp_{name}")
    return cast(Served, told)


MODELS = Models([model("small"), model("large")])


def test_no_name_is_the_first_model() -> None:
    assert MODELS.find(None, Caller()).name == MODELS.find("", Caller()).name == "small"
    assert MODELS.versions() == {"small": "fp_small", "large": "fp_large"}


@pytest.mark.parametrize(
    ("name", "caller", "status", "says"),
    [
        ("smal", Caller(), 404, "did you mean 'small'"),
        ("gpt-4o", Caller(), 404, "there are small, small:poet, large, large:poet"),
        ("large", Caller("a", "a", frozenset({"small"})), 403, "may not use 'large'"),
    ],
)
def test_another_name_is_refused(name: str, caller: Caller, status: int, says: str) -> None:
    with pytest.raises(ApiError, match=says) as caught:
        MODELS.find(name, caller)
    assert (caught.value.status, caught.value.param) == (status, "model")


def test_a_key_may_use_what_is_on_its_list() -> None:
    caller: Any = Caller("a", "a", frozenset({"large"}))
    assert MODELS.find("large", caller).name == "large"


def test_behind_a_colon_stands_an_adapter_that_is_there() -> None:
    assert MODELS.find("large:poet", Caller()).name == "large"
    with pytest.raises(ApiError, match="did you mean 'large:poet'"):
        MODELS.find("large:pot", Caller())


def poet(model: Transformer) -> Any:
    generator = torch.Generator().manual_seed(1)
    q = model.get_submodule("model.layers.0.self_attn.q_proj").weight
    A = torch.randn(2, q.shape[1], generator=generator)
    B = torch.randn(q.shape[0], 2, generator=generator)
    weights = AdapterWeights({"model.layers.0.self_attn.q_proj": LowRank(A, B, 1.0, None)}, {}, base=None)
    return prepare_adapter(model, "poet", weights, strength=1.0)


def test_each_request_gets_its_own_adapter_or_none(
    serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    body = {"prompt": "the fox", "max_tokens": 8, "temperature": 0, "ignore_eos": True}

    async def ask() -> tuple[list[Any], list[str], int]:
        async with serving(adapters=ServedAdapters([(AdapterSpec("poet", "p"), 0)])) as client:
            await client.thread.call(lambda: client.thread._engine.adapters.add(poet(model)))  # type: ignore[attr-defined]
            asked = [
                client.post("/v1/completions", json=body | {"model": name}) for name in ("tiny", "tiny:poet")
            ]
            answers = [one.json() for one in await asyncio.gather(*asked)]
            listed = [one["id"] for one in (await client.get("/v1/models")).json()["data"]]
            unknown = await client.post("/v1/completions", json=body | {"model": "tiny:pot"})
            return answers, listed, unknown.status_code

    (base, adapted), listed, unknown = asyncio.run(ask())
    assert listed == ["tiny", "tiny:poet"] and unknown == 404
    assert (base["model"], adapted["model"]) == ("tiny", "tiny:poet")
    engine = Engine(model)
    engine.adapters.add(poet(model))
    prompt = tuple(tokenizer.backend.encode("the fox").ids)
    sampling = SamplingConfig(temperature=0.0, max_tokens=8, ignore_eos=True)
    for answer, name in ((base, None), (adapted, "poet")):
        ids = [one.id for one in engine.run(Request(prompt, sampling, adapter=name))]
        assert answer["choices"][0]["text"] == tokenizer.decode([*prompt, *ids])[len("the fox") :]
    assert base["choices"][0]["text"] != adapted["choices"][0]["text"]
