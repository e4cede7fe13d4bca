"""What there is to ask, for whoever may; figures for admins."""

import asyncio
from typing import Any

from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from tests.server.conftest import Serving


def test_no_model_has_an_empty_name(serving: Serving) -> None:
    async def ask() -> Any:
        async with serving() as client:
            return await client.get("/v1/models/")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_model_has_its_sizes_in_llama_cpps_words_too(serving: Serving) -> None:
    async def ask() -> Any:
        async with serving() as client:
            return (await client.get("/v1/models/tiny")).json()

    told = asyncio.run(ask())
    assert told["meta"]["n_ctx"] == told["max_model_len"] == told["meta"]["n_ctx_train"] == 256
    assert (told["meta"]["n_vocab"], told["meta"]["n_embd"]) == (told["vocab_size"], 16)


def test_a_key_sees_its_models_and_only_an_admin_sees_figures(serving: Serving) -> None:
    keys = Keys(
        {
            "all": KeyRules(sha256=digest_of("a"), admin=True),
            "other": KeyRules(sha256=digest_of("b"), models=("elsewhere",)),
        }
    )
    gate = KeyedGate(keys, Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))

    async def ask() -> list[Any]:
        async with serving(gate=gate) as client:
            found: list[Any] = []
            for key in ("a", "b"):
                headers = {"authorization": f"Bearer {key}"}
                found.append(
                    [one["id"] for one in (await client.get("/v1/models", headers=headers)).json()["data"]]
                )
                for path in ("/v1/models/tiny", "/metrics"):
                    found.append((await client.get(path, headers=headers)).status_code)
            found.append((await client.get("/v1/models/none", headers={"x-api-key": "a"})).status_code)
            return found

    assert asyncio.run(ask()) == [["tiny"], 200, 200, [], 403, 403, 404]
