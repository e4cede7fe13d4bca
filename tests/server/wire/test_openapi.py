"""The document against the application that it describes, and against what its bodies' structs take."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from llmkit.server import front
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from llmkit.server.wire.openapi import (
    REFUSALS,
    AnthropicErrorBody,
    ErrorBody,
    facts_of,
    openapi_bytes,
    openapi_document,
)
from llmkit.server.wire.openapi_sampling import Facts
from llmkit.server.wire.operations import OPERATIONS, Operation
from tests.server.conftest import Serving


def test_the_server_sends_the_document(serving: Serving) -> None:
    async def ask() -> Any:
        async with serving() as client:
            return await client.get("/openapi.json"), await client.get("/v1/models")

    answer, models = asyncio.run(ask())
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"] == "3.1.0"
    facts = facts_of([models.json()["data"][0]], has_index=False)
    assert facts.models == ("tiny",) and facts.context == 256
    assert answer.content == openapi_bytes(OPERATIONS, facts)


@pytest.mark.parametrize("one", [one for one in OPERATIONS if one.body is not None], ids=lambda one: one.path)
def test_a_body_has_the_fields_of_the_struct_that_decodes_it_and_no_others(one: Operation) -> None:
    document = openapi_document()
    told = document["paths"][one.documented_path]["post"]["requestBody"]["content"]["application/json"]
    body = told["schema"]["items"] if one.lists else told["schema"]
    schema = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert one.body is not None
    fields = msgspec.structs.fields(one.body)
    assert set(schema["properties"]) == {field.encode_name for field in fields}
    required = {field.encode_name for field in fields if field.required}
    assert (
        set(schema.get("required", ())) - {"max_tokens"} == required
    )  # Anthropic's, unless tokens are counted
    assert schema["additionalProperties"] is False


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = openapi_document()
    names = set(document["components"]["schemas"])

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"].rpartition("/")[2]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    assert references(document) == names


def test_a_place_for_a_name_is_a_parameter_and_health_needs_no_key() -> None:
    paths = openapi_document()["paths"]
    assert [one["name"] for one in paths["/v1/models/{name}"]["get"]["parameters"]] == ["name"]
    assert paths["/health"]["get"]["security"] == [] and "security" not in paths["/v1/models"]["get"]


def test_what_is_not_the_same_of_all_models_is_left_open_and_numbers_are_the_least() -> None:
    one = {"id": "a", "vocab_size": 9, "max_model_len": 20, "hidden_size": 4}
    other = {"id": "b", "vocab_size": 7, "max_model_len": None, "hidden_size": 8}
    assert facts_of([one]) == Facts(("a",), 9, 20, 4, None)
    assert facts_of([one, other]) == Facts(("a", "b"), 7, None, None, None)
    assert facts_of([]) == Facts((), None, None, None, None)
    assert facts_of([one | {"fills_gaps": True}, other | {"fills_gaps": True}]).fills_gaps is True
    assert facts_of([one | {"fills_gaps": True}, other]).fills_gaps is None


def test_a_body_names_models_and_ids_that_the_server_has() -> None:
    document = openapi_document(facts=Facts(("a",), vocab_size=9, hidden_size=4, has_index=False))
    schemas = document["components"]["schemas"]
    assert schemas["ChatRequest"]["properties"]["model"]["enum"] == [None, "a"]
    assert schemas["ChatRequest"]["properties"]["retrieve"]["enum"] == [None, False]
    assert schemas["DetokenizeRequest"]["properties"]["tokens"]["items"]["maximum"] == 8
    (place,) = document["paths"]["/v1/models/{name}"]["get"]["parameters"]
    assert place["schema"] == {"enum": ["a"]}


GOOD = {"prompt": [5], "max_tokens": 1}
CHAT = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}


def refusals(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """An answer of each status that a text's endpoint is documented to have."""
    keys = Keys(
        {
            "all": KeyRules(sha256=digest_of("a")),
            "other": KeyRules(sha256=digest_of("b"), models=("elsewhere",)),
            "slow": KeyRules(sha256=digest_of("c"), requests_per_minute=1),
        }
    )
    gate = KeyedGate(keys, Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))
    monkeypatch.setattr(front, "BODY_SECONDS", 0.05)

    async def late() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(0.3)
        yield b"}"

    async def ask() -> dict[int, Any]:
        async with serving(gate=gate) as client:

            async def post(key: str, **body: Any) -> Any:
                return await client.post("/v1/completions", headers={"x-api-key": key}, **body)

            found = {
                200: await post("a", json=GOOD),
                400: await post("a", json={}),
                401: await post("nobody", json=GOOD),
                403: await post("b", json=GOOD),
                404: await post("a", json={**GOOD, "model": "none"}),
                408: await post("a", content=late()),
                413: await post("a", content=b" " * (front.MOST_BODY_BYTES + 1)),
            }
            for _ in range(2):
                found[429] = await post("c", json=GOOD)
            runner = client.thread._engine._runner  # type: ignore[attr-defined]
            with monkeypatch.context() as broken:
                broken.setattr(runner, "run", lambda works: 1 / 0)
                found[500] = await post("a", json=GOOD)
            client.app.state.serve.draining = True  # type: ignore[attr-defined]
            found[503] = await post("a", json=GOOD)
            found[529] = await client.post("/v1/messages", json=CHAT, headers={"x-api-key": "a"})
            return found

    return asyncio.run(ask())


def test_each_refusal_that_is_documented_is_one_and_has_the_body_that_is_described(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = refusals(serving, monkeypatch)
    assert {status: one.status_code for status, one in found.items()} == {one: one for one in found}
    responses = openapi_document()["paths"]["/v1/completions"]["post"]["responses"]
    assert {int(one) for one in responses if one != "default"} == {*found} - {529}
    assert "529" in openapi_document()["paths"]["/v1/messages"]["post"]["responses"]
    for status, answer in found.items():
        if status not in (200, 529):
            told = msgspec.convert(answer.json(), ErrorBody, strict=True)
            assert msgspec.to_builtins(told) == answer.json() and status in REFUSALS
        if "headers" in responses.get(str(status), {}):
            assert int(answer.headers["retry-after"]) >= 1
    told = msgspec.convert(found[529].json(), AnthropicErrorBody, strict=True)
    assert msgspec.to_builtins(told) == found[529].json()
