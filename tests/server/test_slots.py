"""What an engine writes is told place by place, to admins, and nothing of what was said."""

import asyncio
from typing import Any

from llmkit.engine.engine import EngineConfig
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from tests.server.conftest import Serving

ASKED = {"prompt": [72, 101, 108], "max_tokens": 200, "ignore_eos": True, "top_k": 7, "stop": ["secret"]}


def test_a_text_at_work_has_a_place_and_with_no_place_left_that_can_be_an_error(serving: Serving) -> None:
    async def go() -> list[Any]:
        async with serving(engine=EngineConfig(positions=2048, max_texts=2)) as client:
            tasks, seen = [], [(await client.get("/slots?fail_on_no_slot=1"))]
            for count in (1, 2):
                tasks.append(asyncio.create_task(client.post("/v1/completions", json=ASKED)))
                while client.thread.load().running < count:  # type: ignore[attr-defined]
                    await asyncio.sleep(0.001)
                seen.append(await client.get("/slots"))
            seen.append(await client.get("/slots?fail_on_no_slot=1"))
            await asyncio.gather(*tasks)
            return [*seen, await client.get("/slots?model=none")]

    idle, one, two, full, missing = asyncio.run(go())
    free = {"n_ctx": 256, "speculative": False, "is_processing": False}
    assert idle.json() == [{"id": 0, **free}, {"id": 1, **free}]
    (busy, rest) = one.json()
    assert rest == {"id": 1, **free} and busy["is_processing"] is True
    assert busy["n_prompt_tokens"] == 3 and busy["params"]["top_k"] == 7
    (next_token,) = busy["next_token"]
    assert next_token["n_decoded"] + next_token["n_remain"] == busy["params"]["n_predict"] == 200
    assert "secret" not in one.text
    assert two.json()[0]["id_task"] == busy["id_task"] != two.json()[1]["id_task"]
    assert (full.status_code, full.json()["error"]["code"]) == (503, "no_slot")
    assert missing.status_code == 404


def test_they_are_for_admins_where_there_are_keys(serving: Serving) -> None:
    keys = {"all": KeyRules(sha256=digest_of("a")), "root": KeyRules(sha256=digest_of("r"), admin=True)}
    gate = KeyedGate(Keys(keys), Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))

    async def go() -> list[int]:
        async with serving(gate=gate) as client:
            return [
                (await client.get("/slots", headers={"x-api-key": key})).status_code for key in ("a", "r", "")
            ]

    assert asyncio.run(go()) == [403, 200, 401]
