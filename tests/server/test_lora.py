"""Adapters by their numbers are those of their names, at the scales that are asked for."""

import asyncio
from typing import Any

import pytest

from llmkit.engine.adapters.mixed import mixed_adapter
from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.model.transformer import Transformer
from llmkit.server.adapters import AdapterSpec
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from llmkit.tokens.tokenizer import Tokenizer
from tests.server.adapters_made import read
from tests.server.conftest import Serving
from tests.server.test_adapters import BODY, PROMPT, adapters, alone

SPECS = (AdapterSpec("poet", "one"), AdapterSpec("cook", "two", strength=0.5))
LLAMA = {"prompt": PROMPT, "n_predict": 12, "temperature": 0, "ignore_eos": True}


def mixed(model: Transformer, tokenizer: Tokenizer, *scales: tuple[str, float]) -> str:
    """What an engine of its own writes with the sum of adapters, by their paths."""
    engine = Engine(model)
    parts = [(prepare_adapter(model, "x", read(AdapterSpec("x", path))), one) for path, one in scales]
    engine.adapters.add(mixed_adapter("mix", parts))
    sampling = SamplingConfig(temperature=0.0, max_tokens=12, ignore_eos=True)
    ids = [one.id for one in engine.run(Request(tuple(PROMPT), sampling, adapter="mix"))]
    whole, before = (tokenizer.backend.decode(row) for row in ([*PROMPT, *ids], PROMPT))
    return whole[len(before) :]


def test_a_scale_is_that_of_the_whole_adapter_whatever_part_of_it_was_loaded(
    serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    asked: list[Any] = [
        [],
        [{"id": 0, "scale": 1}],
        [{"id": 1, "scale": 1}],
        [{"id": 1, "scale": -0.5}, {"id": 0, "scale": 2}],
        [{"id": 0, "scale": 0}],
    ]

    async def go() -> list[str]:
        async with serving(read=read) as client:
            for one in SPECS:
                await adapters(client).load(one)
            answers = [await client.post("/completion", json=LLAMA | {"lora": one}) for one in asked]
            return [one.json()["content"] for one in answers]

    base, poet = (alone(model, tokenizer, path) for path in (None, "one"))
    two = mixed(model, tokenizer, ("two", 1.0))
    both = mixed(model, tokenizer, ("one", 2.0), ("two", -0.5))
    assert len({base, poet, two, both}) == 4
    assert asyncio.run(go()) == [base, poet, two, both, base]


def test_scales_that_are_set_hold_where_a_request_names_no_adapter(
    serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    async def go() -> list[Any]:
        async with serving(read=read) as client:
            for one in SPECS:
                await adapters(client).load(one)

            async def text(name: str) -> Any:
                answer = await client.post("/v1/completions", json=BODY | {"model": name})
                return answer.json()["choices"][0]["text"]

            listed = (await client.get("/lora-adapters")).json()
            listed[1]["scale"] = 2.0
            told = await client.post("/lora-adapters", json=listed)  # as it is, with what nobody reads
            after = (await client.get("/lora-adapters")).json()
            texts = [await text("tiny"), await text("tiny:poet")]
            await adapters(client).unload("cook", wait_seconds=5)
            left = (await client.get("/lora-adapters")).json()
            return [told.json(), after, *texts, left, await text("tiny")]

    told, after, base, poet, left, again = asyncio.run(go())
    assert told == {"success": True}
    assert [(one["id"], one["path"], one["scale"]) for one in after] == [(0, "poet", 0), (1, "cook", 2)]
    assert base == mixed(model, tokenizer, ("two", 2.0)) and poet == alone(model, tokenizer, "one")
    assert [one["name"] for one in left] == ["poet"] and again == alone(model, tokenizer, None)


@pytest.mark.parametrize(
    ("key", "body", "status", "param"),
    [
        ("all", {"lora": [{"id": 2, "scale": 1}]}, 400, "lora"),
        ("all", {"lora": [{"id": 0, "scale": 1}], "model": "tiny:poet"}, 400, "lora"),
        ("base", {"lora": [{"id": 0, "scale": 1}]}, 403, "model"),
        ("poet", {"lora": [{"id": 0, "scale": 1}, {"id": 1, "scale": 1}], "model": "tiny"}, 403, "model"),
        ("poet", {"lora": [{"id": 0, "scale": 0.5}], "model": "tiny"}, 200, None),
        ("base", [], 403, None),
        ("root", [{"id": 5, "scale": 1}], 400, "id"),
        ("root", [{"id": 1, "scale": 1}], 200, None),
    ],
)
def test_a_key_gets_its_own_adapters_and_only_an_admin_changes_what_all_get(
    serving: Serving, key: str, body: Any, status: int, param: str | None
) -> None:
    rules = {
        "all": KeyRules(sha256=digest_of("all")),
        "base": KeyRules(sha256=digest_of("base"), models=("tiny",)),
        "poet": KeyRules(sha256=digest_of("poet"), models=("tiny", "tiny:poet")),
        "root": KeyRules(sha256=digest_of("root"), admin=True),
    }
    gate = KeyedGate(Keys(rules), Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))

    async def go() -> Any:
        async with serving(gate=gate, read=read) as client:
            for one in SPECS:
                await adapters(client).load(one)
            path, sent = ("/lora-adapters", body) if isinstance(body, list) else ("/completion", LLAMA | body)
            headers = {"authorization": f"Bearer {key}"}
            answer = await client.post(path, json=sent, headers=headers)
            listed = (await client.get("/lora-adapters", headers=headers)).json()
            return answer, [one["id"] for one in listed]

    answer, listed = asyncio.run(go())
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["error"]["param"] == param
    assert listed == {"base": [], "poet": [0]}.get(key, [0, 1])


def test_an_adapter_of_no_strength_has_no_scale(serving: Serving) -> None:
    async def go() -> Any:
        async with serving(read=read) as client:
            await adapters(client).load(AdapterSpec("none", "one", strength=0.0))
            return await client.post("/completion", json=LLAMA | {"lora": [{"id": 0, "scale": 1}]})

    answer = asyncio.run(go())
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "lora")


def test_what_several_adapters_write_is_told_and_charged_under_their_names(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {"all": KeyRules(sha256=digest_of("all"))}
    usage = UsageStore(None)
    gate = KeyedGate(Keys(rules), Admission(AdmissionConfig(), lambda: 0.0), usage)
    asked: list[dict[str, Any]] = [
        {},
        {"lora": [{"id": 1, "scale": 0.25}]},
        {"lora": [{"id": 1, "scale": 2}, {"id": 0, "scale": 1}]},
    ]

    async def go() -> list[Any]:
        async with serving(gate=gate, read=read) as client:
            for one in SPECS:
                await adapters(client).load(one)
            headers = {"authorization": "Bearer all"}
            answers = [await client.post("/completion", json=LLAMA | one, headers=headers) for one in asked]
            return [one.json()["model"] for one in answers]

    charged: list[str] = []
    monkeypatch.setattr(usage, "charge", lambda key, model, *_: charged.append(model))
    assert asyncio.run(go()) == charged == ["tiny", "tiny:cook", "tiny:poet+cook"]


def test_a_fingerprint_is_another_where_adapters_change_the_answer(serving: Serving) -> None:
    async def go() -> list[str]:
        async with serving(read=read) as client:

            async def told(name: str = "tiny") -> str:
                answer = await client.post("/v1/completions", json=BODY | {"model": name})
                listed = (await client.get(f"/v1/models/{name}")).json()
                assert answer.json()["system_fingerprint"] == listed["system_fingerprint"]
                return str(listed["system_fingerprint"])

            for one in SPECS:
                await adapters(client).load(one)
            seen = [await told(), await told("tiny:poet")]
            for scale in (2, 1, 0):
                await client.post("/lora-adapters", json=[{"id": 1, "scale": scale}])
                seen += [await told(), await told("tiny:poet")]
            await adapters(client).load(AdapterSpec("poet", "three"), replace=True)
            return [*seen, await told("tiny:poet")]

    base, poet, twice, poet_2, once, poet_3, again, poet_4, other = asyncio.run(go())
    assert base == again == "fp_test" and poet == poet_2 == poet_3 == poet_4
    assert len({base, poet, twice, once, other}) == 5
