"""A response that was kept is there for its key: whole, with its input, until it is deleted."""

import asyncio
from typing import Any

import httpx

from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.kept_responses import KeptResponses
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from tests.server.conftest import Serving

PATH = "/v1/responses"
ASKED = {"input": "the quick", "max_output_tokens": 3, "metadata": {"topic": "foxes"}}


def gate() -> KeyedGate:
    keys = Keys({name: KeyRules(sha256=digest_of(name)) for name in ("alice", "bob")})
    return KeyedGate(keys, Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))


def test_a_response_is_shown_as_it_came_to_its_own_key_alone(serving: Serving) -> None:
    async def go() -> list[httpx.Response]:
        async with serving(gate=gate()) as client:
            alice, bob = ({"authorization": f"Bearer {name}"} for name in ("alice", "bob"))
            told = await client.post(PATH, json=ASKED, headers=alice)
            place = f"{PATH}/{told.json()['id']}"
            further = ASKED | {"previous_response_id": told.json()["id"]}
            return [
                told,
                await client.get(place, headers=alice),
                await client.get(place, headers=bob),
                await client.get(f"{place}/input_items", headers=bob),
                await client.delete(place, headers=bob),
                await client.post(PATH, json=further, headers=bob),
                await client.get(place),
                await client.delete(place, headers=alice),
                await client.get(place, headers=alice),
            ]

    told, shown, *others, stranger, deleted, gone = asyncio.run(go())
    assert told.json() == shown.json()
    assert told.json()["store"] is True and told.json()["metadata"] == {"topic": "foxes"}
    assert [one.status_code for one in others] == [404, 404, 404, 400]
    assert others[-1].json()["error"]["code"] == "previous_response_not_found"
    assert stranger.status_code == 401
    assert deleted.json() == {"id": told.json()["id"], "object": "response", "deleted": True}
    assert gone.status_code == 404 and gone.json()["error"]["type"] == "not_found_error"


def test_its_input_is_listed_with_what_it_goes_on_from(serving: Serving) -> None:
    async def go() -> tuple[Any, Any, Any]:
        async with serving() as client:
            first = (await client.post(PATH, json=ASKED)).json()
            second = (await client.post(PATH, json=ASKED | {"previous_response_id": first["id"]})).json()
            place = f"{PATH}/{second['id']}/input_items"
            asc = (await client.get(place, params={"order": "asc"})).json()
            wrong = await client.get(place, params={"no_such": "1"})
            return first, asc, wrong

    first, listed, wrong = asyncio.run(go())
    assert [one["role"] for one in listed["data"]] == ["user", "assistant", "user"]
    assert listed["data"][1] == first["output"][0]
    assert listed["data"][0]["content"] == [{"type": "input_text", "text": "the quick"}]
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "no_such"


def test_what_is_not_to_be_stored_is_not_and_a_server_that_keeps_nothing_says_so(serving: Serving) -> None:
    async def go() -> list[httpx.Response]:
        async with serving() as client:
            private = await client.post(PATH, json=ASKED | {"store": False})
            missing = await client.get(f"{PATH}/{private.json()['id']}")
            client.app.state.serve.kept = KeptResponses(most_bytes=0)  # type: ignore[attr-defined]
            told = await client.post(PATH, json=ASKED)
            refused = await client.post(PATH, json=ASKED | {"store": True})
            further = await client.post(PATH, json=ASKED | {"previous_response_id": "resp_1"})
            return [private, missing, told, refused, further]

    private, missing, told, refused, further = asyncio.run(go())
    assert private.json()["store"] is False and missing.status_code == 404
    assert told.json()["store"] is False
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "store"
    assert "this server keeps none" in further.json()["error"]["message"]
