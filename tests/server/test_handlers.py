"""Unary requests end with their client; what a request took is in its slot."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from llmkit.retrieve.passage_prompt import Citation
from llmkit.server.admission import Admission
from llmkit.server.ask import Ask
from llmkit.server.config import AdmissionConfig
from llmkit.server.errors import ApiError
from llmkit.server.handlers import until_gone
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.prompts import PromptPool
from llmkit.server.usage import UsageStore
from llmkit.server.wire.sampling import WireLimits
from tests.server.conftest import Serving

ASKS: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "a", "max_tokens": 1},
    "/v1/embeddings": {"input": "a"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1},
}


class Gone:
    """A request whose client leaves."""

    def __init__(self, after: float) -> None:
        self._after = after

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self._after)
        return {"type": "http.disconnect"}


def test_work_is_cancelled_when_its_client_leaves_and_not_before() -> None:
    cancelled = []

    async def work(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            cancelled.append(seconds)
            raise
        return "done"

    async def go() -> None:
        assert await until_gone(Gone(5), work(0)) == "done"  # type: ignore[arg-type]
        with pytest.raises(ApiError) as caught:
            await until_gone(Gone(0), work(5))  # type: ignore[arg-type]
        assert caught.value.status == 499

    asyncio.run(go())
    assert cancelled == [5]


def test_what_work_raises_comes_out() -> None:
    async def work() -> None:
        raise ApiError(400, "no")

    with pytest.raises(ApiError, match="no"):
        asyncio.run(until_gone(Gone(5), work()))  # type: ignore[arg-type]


def test_every_text_endpoint_tells_its_own_usage(serving: Serving) -> None:
    chat = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 2}

    async def go() -> list[httpx.Response]:
        async with serving() as client:
            return [
                await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 2}),
                await client.post("/v1/chat/completions", json=chat),
                await client.post("/v1/responses", json={"input": "a", "max_output_tokens": 2}),
                await client.post("/v1/messages", json=chat),
            ]

    usages = [one.json()["usage"] for one in asyncio.run(go())]
    written = [one.get("completion_tokens", one.get("output_tokens")) for one in usages]
    assert all(1 <= count <= 2 for count in written)
    assert (
        usages[1]["prompt_tokens"]
        == usages[2]["input_tokens"]
        == sum(usages[3][name] for name in ("input_tokens", "cache_read_input_tokens"))
    )


def test_a_prompt_of_several_samples_was_found_in_the_cache_once(serving: Serving) -> None:
    body = {"messages": [{"role": "user", "content": "a b c d " * 20}], "max_tokens": 2, "n": 3}

    async def go() -> list[httpx.Response]:
        async with serving() as client:
            return [await client.post("/v1/chat/completions", json=body) for _ in range(2)]

    first, second = (one.json()["usage"] for one in asyncio.run(go()))
    assert first["prompt_tokens"] == second["prompt_tokens"]
    found = [one["prompt_tokens_details"]["cached_tokens"] for one in (first, second)]
    assert found[0] == 0 < found[1] < second["prompt_tokens"]


def test_a_reply_that_was_begun_is_gone_on_with_and_not_said_again(serving: Serving) -> None:
    begun = "the quick brown fox"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": begun}]
    body = {"messages": turns, "max_tokens": 4, "temperature": 0}

    async def go() -> tuple[httpx.Response, httpx.Response]:
        async with serving() as client:
            whole = await client.post("/v1/messages", json=body)
            return whole, await client.post("/v1/messages", json={**body, "stream": True})

    whole, streamed = asyncio.run(go())
    (content,) = whole.json()["content"]
    assert not content["text"].startswith("the") and begun not in streamed.text
    assert whole.json()["usage"]["output_tokens"] == 4


def test_a_grammar_holds_the_text_in_whoevers_words_and_a_wrong_one_is_refused_with_its_line(
    serving: Serving,
) -> None:
    pytest.importorskip("llguidance")
    grammar = 'root ::= [a-c]{2} "!"'
    words: list[dict[str, Any]] = [
        {"grammar": grammar},
        {"guided_grammar": grammar},
        {"structured_outputs": {"grammar": grammar}},
        {"response_format": {"type": "grammar", "grammar": grammar}},
        {"response_format": {"type": "json_object", "schema": {"const": 7}}},
        {"grammar": 'root ::= "a" |\nb'},
    ]

    async def go() -> list[httpx.Response]:
        async with serving() as client:
            body = {"prompt": "a", "max_tokens": 40, "temperature": 1.0}
            return [await client.post("/v1/completions", json=body | one) for one in words]

    *held, schema, wrong = asyncio.run(go())
    for response in held:
        assert re.fullmatch("[a-c]{2}!", response.json()["choices"][0]["text"])
    assert schema.json()["choices"][0]["text"] == "7"
    assert wrong.status_code == 400
    assert "grammar: line 2: no rule b (found: root)" in wrong.json()["error"]["message"]


@pytest.mark.parametrize("path", ASKS)
def test_a_key_over_its_limits_has_no_prompt_prepared_and_another_is_answered_meanwhile(
    path: str, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(
        {
            "alice": KeyRules(sha256=digest_of("alice"), concurrent=1, requests_per_minute=2),
            "bob": KeyRules(sha256=digest_of("bob")),
        }
    )
    gate = KeyedGate(keys, Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None), clock=lambda: 0.0)
    prepared, slow = [], asyncio.Event()
    ask = PromptPool._ask

    async def held(pool: PromptPool, message: Any, param: str, tenant: str, **more: Any) -> dict[str, Any]:
        prepared.append(tenant)
        if tenant == "alice":
            await slow.wait()
        return await ask(pool, message, param, tenant, **more)

    monkeypatch.setattr(PromptPool, "_ask", held)

    async def go() -> None:
        async with serving(gate=gate) as client:

            async def post(key: str, **more: Any) -> httpx.Response:
                head = {"authorization": f"Bearer {key}"}
                return await client.post(path, json=ASKS[path] | more, headers=head)

            first = asyncio.create_task(post("alice"))
            while not prepared:
                await asyncio.sleep(0)
            beside = [await post("alice") for _ in range(3)]
            assert {(one.status_code, one.json()["error"]["code"]) for one in beside} == {
                (429, "concurrency_limit")
            }
            assert (await post("bob")).status_code == 200 and not first.done()
            slow.set()
            assert (await first).status_code == 200
            wrong = {"messages": [{"role": "user", "content": "a" * 9000}]} if "chat" in path else {}
            wrong = wrong or {name: "a" * 9000 for name in ("prompt", "input") if name in ASKS[path]}
            assert (await post("alice", **wrong)).status_code == 400  # and counts
            assert (await post("alice")).json()["error"]["code"] == "rate_limit_exceeded"

    asyncio.run(go())
    assert prepared == ["alice", "bob", "alice"]


def test_a_key_over_its_limits_has_no_passages_looked_for(serving: Serving) -> None:
    rules = KeyRules(sha256=digest_of("alice"), requests_per_minute=1)
    gate = KeyedGate(Keys({"alice": rules}), Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))
    searched = []

    class Index:
        async def before(self, ask: Ask) -> tuple[Ask, tuple[Citation, ...]]:
            searched.append(ask.messages)
            return ask, ()

    async def go() -> list[int]:
        path, head = "/v1/chat/completions", {"authorization": "Bearer alice"}
        async with serving(gate=gate) as client:
            client.app.state.serve.retrieval = Index()  # type: ignore[attr-defined]
            body = ASKS[path] | {"retrieve": True}
            return [(await client.post(path, json=body, headers=head)).status_code for _ in range(2)]

    assert asyncio.run(go()) == [200, 429] and len(searched) == 1


@pytest.mark.parametrize(
    ("path", "body", "param", "scores"),
    [
        ("/v1/completions", {"prompt": [5] * 7, "echo": True, "logprobs": 2, "n": 2}, "logprobs", 3 * 2 * 9),
        ("/v1/completions", {"prompt": [[5] * 7, [6]], "logprobs": 2}, "logprobs", 3 * 2 * 2),
        ("/v1/chat/completions", {"logprobs": True, "top_logprobs": 1, "n": 3}, "top_logprobs", 2 * 3 * 2),
        ("/v1/chat/completions", {"logprobs": True}, "logprobs", 2),
    ],
)
def test_scores_of_all_answers_and_echoed_prompts_together_are_limited(
    path: str, body: dict[str, Any], param: str, scores: int, serving: Serving
) -> None:
    asked = ASKS[path] | body | {"max_tokens": 2}

    async def go() -> list[httpx.Response]:
        async with serving() as client:
            state = client.app.state.serve  # type: ignore[attr-defined]
            answers = []
            for limit in (scores, scores - 1):
                state.limits = WireLimits(scores=limit)
                answers.append(await client.post(path, json=asked))
            return answers

    taken, refused = asyncio.run(go())
    assert taken.status_code == 200 and refused.status_code == 400
    assert refused.json()["error"]["param"] == param
    assert f"are {scores:,}, and a request may ask for {scores - 1:,}" in refused.json()["error"]["message"]
