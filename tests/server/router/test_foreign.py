"""What a server at a URL would pass over is refused by name; what it does goes on to it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from llmkit.retrieve.hits import Hit
from llmkit.retrieve.tools.config import ToolSpec
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.server.adapters import AdapterSpec
from llmkit.server.gate import Caller, OpenGate
from llmkit.server.handoff import WorkerGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.retrieval import Retrieval
from llmkit.server.router.fleet import Fleet, Version
from llmkit.server.router.foreign import for_worker
from llmkit.server.router.probes import ask_cards
from llmkit.server.router.worker import Card, Worker
from llmkit.server.tool_bench import ToolBench
from llmkit.tokens.load import load_tokenizer
from tests.server.adapters_made import weights
from tests.server.calling_made import calling_folder, calling_model
from tests.server.conftest import served_app
from tests.server.router.fakes import FakeWorker, Routing, said

CHAT = "/v1/chat/completions"
MESSAGES: list[dict[str, str]] = [{"role": "user", "content": "hi"}]


def remote(owner: str | None, *, name: str = "w", **told: Any) -> FakeWorker:
    """A server at a URL that says whose it is."""
    fake = FakeWorker(said(name), name=name, is_own=False)
    known = {} if owner is None else {"owned_by": owner}
    fake.worker.cards = (Card("tiny", 100, None, {**known, **told}),)
    return fake


def ask(*fakes: FakeWorker, path: str = CHAT, **body: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        fleet = Fleet()
        for one in fakes:
            fleet.learn(one.worker)
        return await Routing(fleet=fleet).client.post(path, json={"messages": MESSAGES, **body})

    return asyncio.run(go())


@pytest.mark.parametrize("owner", ["llmkit", "vllm", None])
def test_passages_are_refused_where_nobody_has_told_of_an_index(owner: str | None) -> None:
    fake = remote(owner)
    answer = ask(fake, retrieve=True)
    assert answer.status_code == 400 and fake.bodies == []
    assert answer.json()["error"]["param"] == "retrieve"


def test_passages_are_asked_of_the_worker_that_has_an_index() -> None:
    without, with_index = remote("llmkit", name="a"), remote("llmkit", name="b", has_index=True)
    for _ in range(4):
        assert ask(without, with_index, retrieve=True).status_code == 200
    assert len(with_index.bodies) == 4 and without.bodies == []


def test_no_passages_is_what_others_do_anyway_and_not_told_to_them() -> None:
    other, ours = remote("vllm"), remote("llmkit")
    assert ask(other, retrieve=False).status_code == ask(ours, retrieve=False).status_code == 200
    assert "retrieve" not in other.bodies[0] and ours.bodies[0]["retrieve"] is False


@pytest.mark.parametrize(
    ("owner", "body", "param"),
    [
        ("vllm", {"samplers": ["top_k"]}, "samplers"),
        ("vllm", {"grammar": 'root ::= "a"'}, "grammar"),
        ("vllm", {"typical_p": 0.5}, "typical_p"),
        ("vllm", {"dry_multiplier": 0.8}, "dry_multiplier"),
        ("sglang", {"adaptive_target": 0.5}, "adaptive_target"),
        ("vllm", {"mirostat": 2}, "mirostat"),
        ("sglang", {"priority": 3}, "priority"),
        ("sglang", {"choice": ["a"]}, "choice"),
        ("llamacpp", {"repetition_penalty": 1.2}, "repetition_penalty"),
        ("llamacpp", {"stop_token_ids": [3]}, "stop_token_ids"),
        ("llamacpp", {"min_tokens": 3}, "min_tokens"),
        ("sglang", {"include_stop_str_in_output": True}, "include_stop_str_in_output"),
        ("llamacpp", {"cache_salt": "s"}, "cache_salt"),
        ("vllm", {"samplers": ["top_k"], "typical_p": 1.0, "grammar": None}, "samplers"),
    ],
)
def test_what_a_known_server_would_leave_unread_is_refused(
    owner: str, body: dict[str, Any], param: str
) -> None:
    fake = remote(owner)
    answer = ask(fake, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert owner in answer.json()["error"]["message"] and fake.bodies == []


@pytest.mark.parametrize(
    ("owner", "body"),
    [
        ("vllm", {"top_k": 5, "structured_outputs": {"regex": "a"}, "priority": 2}),
        ("sglang", {"regex": "a", "priority": 0, "cache_salt": "s"}),
        ("vllm", {"cache_salt": "s"}),
        ("vllm", {"min_tokens": 3, "include_stop_str_in_output": True}),
        ("llamacpp", {"min_tokens": 0, "include_stop_str_in_output": False, "prompt_cache_key": "k"}),
        ("llamacpp", {"samplers": ["top_k"], "grammar": 'root ::= "a"', "xtc_probability": 0.5}),
        ("llamacpp", {"dry_multiplier": 0.8, "dry_base": 2.0, "adaptive_target": 0.5}),
        ("llamacpp", {"mirostat": 2, "mirostat_tau": 3.0}),
        ("vllm", {"typical_p": 1.0, "top_n_sigma": None, "stop_token_ids": [], "dry_multiplier": 0}),
        ("somebody", {"samplers": ["top_k"]}),
        (None, {"grammar": 'root ::= "a"'}),
        ("llmkit", {"samplers": ["top_k"], "grammar": 'root ::= "a"', "nonsense": 1}),
    ],
)
def test_what_a_server_does_or_may_do_or_that_asks_for_nothing_goes_on(
    owner: str | None, body: dict[str, Any]
) -> None:
    fake = remote(owner)
    assert ask(fake, **body).status_code == 200
    assert {name: fake.bodies[0][name] for name in body} == body


def test_an_adapter_that_a_foreign_server_has_not_named_is_not_there() -> None:
    """llama.cpp's leaves the model's name unread, and would answer without it."""
    fake = remote("llamacpp")
    answer = ask(fake, model="tiny:poet")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert fake.bodies == []
    fake.worker.cards = (*fake.worker.cards, Card("tiny:poet", None, None, {"owned_by": "sglang"}))
    assert ask(fake, model="tiny:poet").status_code == 200
    ours = remote("llmkit")
    assert ask(ours, model="tiny:poet").status_code == 200  # it says itself what it has
    assert ours.bodies[0]["model"] == "tiny:poet"


@pytest.mark.parametrize(("content", "status"), [(b'{"detail": "Not Found"}', 404), (b"<html>", 405)])
def test_an_endpoint_that_a_foreign_server_lacks_is_said_to_be_missing(content: bytes, status: int) -> None:
    from starlette.responses import Response

    async def lacks(request: Any, body: Any) -> Response:
        return Response(content, status)

    fake = remote("vllm")
    fake.answer = lacks
    answer = ask(fake, path="/v1/messages", max_tokens=5)
    assert answer.status_code == 400 and answer.json()["type"] == "error"
    assert "/v1/messages is not there" in answer.json()["error"]["message"]


def asked(
    owner: str, path: str, content: dict[str, Any], tenant: str = "a", lowest: int = 0
) -> dict[str, Any]:
    caller = Caller(tenant=tenant, lowest_priority=lowest)
    return for_worker(remote(owner).worker, "tiny", path, content, caller)


@pytest.mark.parametrize(
    ("owner", "path", "name"),
    [
        ("llmkit", CHAT, "cache_salt"),
        ("llmkit", "/v1/completions", "cache_salt"),
        ("llmkit", "/v1/responses", "cache_salt"),
        ("llmkit", "/v1/messages", "cache_salt"),
        ("llmkit", "/v1/rerank", "cache_salt"),
        ("llmkit", "/infill", "cache_salt"),
        ("llmkit", "/completion", "cache_salt"),
        ("vllm", CHAT, "cache_salt"),
        ("sglang", "/v1/completions", "cache_salt"),
    ],
)
def test_caches_at_a_url_are_kept_apart_by_key_and_no_client_can_say_anothers(
    owner: str, path: str, name: str
) -> None:
    first, second = asked(owner, path, {}), asked(owner, path, {}, "b")
    assert set(first) == {name} and first != second and first == asked(owner, path, {})
    assert asked(owner, path, first, "b") != first  # who sends the other's word gets one of their own
    assert asked(owner, path, {}, "") == {}  # without keys there is one caller


def test_what_a_worker_is_to_refuse_itself_is_left_as_it_is() -> None:
    assert asked("llmkit", "/v1/messages", {"cache_salt": {"other": 1}}) == {}
    assert asked("llmkit", CHAT, {"cache_salt": 3}) == {}
    assert asked("llmkit", "/tokenize", {}) == asked("llamacpp", CHAT, {}) == {}
    own = Worker("own", httpx.AsyncClient(), cards=(Card("tiny"),))
    assert for_worker(own, "tiny", CHAT, {"retrieve": False}, Caller(tenant="a", lowest_priority=3)) == {}


def test_no_key_jumps_a_queue_at_a_url_further_than_it_may() -> None:
    def priority(owner: str, content: dict[str, Any], path: str = CHAT) -> Any:
        return asked(owner, path, content, "", 5).get("priority")

    assert priority("llmkit", {}) == priority("llmkit", {"priority": -3}) == 5
    assert priority("vllm", {"priority": 1}) == 5 and priority("vllm", {}) is None
    assert priority("llmkit", {}, "/v2/rerank") == priority("llmkit", {}, "/infill") == 5
    assert priority("llmkit", {"priority": 9}) is priority("llmkit", {"priority": 9.0}) is None


def test_a_key_of_the_router_gives_the_worker_a_word_of_its_own() -> None:
    fake = remote("llmkit")
    keys = Keys({"alice": KeyRules(sha256=digest_of("k"))})

    async def go() -> None:
        routing = Routing(Version("", 1.0, [fake.worker]), keys=keys)
        head = {"authorization": "Bearer k"}
        answer = await routing.client.post(CHAT, json={"messages": MESSAGES}, headers=head)
        assert answer.status_code == 200

    asyncio.run(go())
    assert len(fake.bodies[0]["cache_salt"]) == 64 and "alice" not in str(fake.bodies[0])


ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "bee honey"}], "temperature": 0, "seed": 1}
TEXT: dict[str, Any] = {"prompt": "a bee", "temperature": 0, "max_tokens": 6}
WALK: dict[str, tuple[str, dict[str, Any]]] = {
    "passages": (CHAT, {**ASKED, "retrieve": True, "max_tokens": 8}),
    "no passages": (CHAT, {**ASKED, "retrieve": False, "max_tokens": 8}),
    "as the server does": (CHAT, {**ASKED, "max_tokens": 8}),
    "tool": (CHAT, {**ASKED, "tool_choice": "required", "max_tokens": 60}),
    "no tool": (CHAT, {**ASKED, "tool_choice": "none", "max_tokens": 8}),
    "adapter": (CHAT, {**ASKED, "model": "tiny:poet", "max_tokens": 8}),
    "no such adapter": (CHAT, {**ASKED, "model": "tiny:nobody", "max_tokens": 8}),
    "thinking": (CHAT, {**ASKED, "chat_template_kwargs": {"enable_thinking": False}, "max_tokens": 4}),
    "stream": (
        CHAT,
        {**ASKED, "stream": True, "stream_options": {"continuous_usage_stats": True}, "max_tokens": 4},
    ),
    "unknown": (CHAT, {**ASKED, "nonsense": 1}),
    "samplers": ("/v1/completions", {**TEXT, "samplers": ["top_k"], "top_k": 3, "temperature": 1, "seed": 5}),
    "sigma": ("/v1/completions", {**TEXT, "top_n_sigma": 1.0, "temperature": 1, "seed": 5}),
    "xtc": (
        "/v1/completions",
        {**TEXT, "xtc_probability": 0.5, "xtc_threshold": 0.1, "temperature": 1, "seed": 5},
    ),
    "dry": ("/v1/completions", {**TEXT, "dry_multiplier": 5.0, "dry_allowed_length": 1}),
    "adaptive": ("/v1/completions", {**TEXT, "adaptive_target": 0.2, "temperature": 1, "seed": 5}),
    "mirostat": ("/v1/completions", {**TEXT, "mirostat": 2, "temperature": 1, "seed": 5}),
    "grammar": ("/v1/completions", {**TEXT, "grammar": 'root ::= "yes" | "no"'}),
    "choice": ("/v1/completions", {**TEXT, "guided_choice": ["yes", "no"]}),
    "stop ids": ("/v1/completions", {**TEXT, "stop_token_ids": [5]}),
    "priority": ("/v1/completions", {**TEXT, "priority": 3}),
    "scores": ("/v1/completions", {**TEXT, "echo": True, "logprobs": 2, "max_tokens": 0}),
    "passages of a text": ("/v1/completions", {**TEXT, "retrieve": True}),
    "response": (
        "/v1/responses",
        {"input": "bee honey", "retrieve": True, "max_output_tokens": 8, "temperature": 0},
    ),
    "message": (
        "/v1/messages",
        {"messages": ASKED["messages"], "retrieve": True, "max_tokens": 8, "temperature": 0},
    ),
    "message of a user": (
        "/v1/messages",
        {"messages": ASKED["messages"], "metadata": {"user_id": "u"}, "max_tokens": 4, "temperature": 0},
    ),
    "count": ("/v1/messages/count_tokens", {"messages": ASKED["messages"]}),
    "template": ("/apply-template", {"messages": ASKED["messages"]}),
}
"""What we have beside OpenAI's and Anthropic's interfaces, by name; and what is refused."""
_ITS_OWN = ("id", "item_id", "created", "created_at", "call_id", "tool_use_id", "parent")


def plain(answer: httpx.Response) -> Any:
    """What is the same each time: no ids and no clocks."""

    def scrub(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: scrub(one) for key, one in value.items() if key not in _ITS_OWN}
        return [scrub(one) for one in value] if isinstance(value, list) else value

    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.status_code, scrub(answer.json())
    lines = [one.removeprefix("data: ") for one in answer.text.splitlines() if one.startswith("data: {")]
    events = [json.loads(one) for one in lines]  # cut where they happen to be
    deltas = [one["choices"][0]["delta"] for one in events]
    text = "".join(one.get("content", "") for one in deltas)
    return answer.status_code, text, scrub(deltas[0].get("citations")), events[-1]["usage"]["total_tokens"]


class Bee:
    """A tool."""

    spec = ToolSpec("bee", "it", {"type": "object", "properties": {}, "additionalProperties": False})

    def call(self, arguments: dict[str, Any]) -> str:
        """Its result."""
        return "honey"


@pytest.mark.parametrize("has_all", [True, False], ids=["with index, tool, adapter", "with none"])
@pytest.mark.parametrize("kind", ["own", "replicas", "url"])
def test_what_we_have_beside_openai_is_answered_behind_a_router_as_it_is_without(
    kind: str, has_all: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("llguidance")
    folder = calling_folder(tmp_path_factory.mktemp("tokenizer"))
    model, tokenizer = calling_model(folder, 768), load_tokenizer(folder)
    found = Hit(id="zoo:0-17", score=1.0, document="zoo", start=0, end=17, text="a bee makes honey")

    async def go() -> None:
        async with AsyncExitStack() as stack:
            direct = await stack.enter_async_context(opened(OpenGate()))
            secret = {"replicas": "word"}.get(kind, "")
            gate = OpenGate() if kind == "url" else WorkerGate(secret)
            behind = await stack.enter_async_context(opened(gate, behind_router=kind != "url"))
            worker = Worker("w", behind, model="tiny", is_own=kind == "own", secret=secret)
            worker.up(await ask_cards(worker, 5.0))
            fleet = Fleet()
            if kind == "url":
                fleet.learn(worker)
            else:
                fleet.add_version("tiny", Version("", 1.0, [worker]))
            router = Routing(fleet=fleet).client
            different = {}
            for name, (path, body) in WALK.items():
                told = [plain(await one.post(path, json=body, timeout=60)) for one in (direct, router)]
                if told[0] != told[1] and not (told[0][0] == told[1][0] >= 400):
                    different[name] = told
            assert different == {}
            wants = {"passages": (CHAT, 200 if has_all else 400), "adapter": (CHAT, 200 if has_all else 404)}
            for name, (path, status) in wants.items():
                assert (await router.post(path, json=WALK[name][1])).status_code == status

    @asynccontextmanager
    async def opened(gate: Any, behind_router: bool = False) -> AsyncIterator[httpx.AsyncClient]:
        more = {"stop_ids": (0,), "tool_form": "hermes", "behind_router": behind_router, "gate": gate}
        if has_all:
            more["read"] = lambda spec: weights(3)
        async with served_app(model, folder, **more) as (app, _):  # type: ignore[arg-type]
            state = app.state.serve
            if has_all:
                state.retrieval = Retrieval(lambda *asked: [found], tokenizer, most=3, context=768)
                toolbox = Toolbox([Bee()], lambda name, arguments: True)
                state.bench = ToolBench(toolbox, tokenizer)
                await state.models.all()[0].adapters.load(AdapterSpec("poet", "one"))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                yield client

    asyncio.run(go())
