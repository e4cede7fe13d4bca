"""What a server must hold through: clients that leave, passes that fail, long prompts, full queues."""

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmkit.engine.engine import EngineConfig
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from tests.server.conftest import Serving
from tests.server_checks.asgi import Call
from tests.server_checks.conftest import IDS, Shared

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
LONG = {"prompt": IDS, "max_tokens": 200, "ignore_eos": True}
SHORT = {"prompt": IDS, "max_tokens": 3, "ignore_eos": True}


def run(work: Any) -> Any:
    return asyncio.run(work)


def engine_of(client: Any) -> Any:
    return client.thread._engine


async def passes(client: Any, count: int) -> None:
    """Wait until so many passes of the engine are over; where it is idle there are none to wait for."""
    until = client.thread.steps + count
    while client.thread.steps < until and not engine_of(client).is_idle:
        await asyncio.sleep(0.001)


async def all_free(client: Any) -> bool:
    """Whether every block is free once the engine has been through its inbox."""
    await client.thread.call(lambda: None)
    load = client.thread.load()
    return bool(load.free_blocks == load.blocks)


class Held:
    """An engine whose passes wait for a go."""

    def __init__(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()
        runner = engine_of(client)._runner
        real = runner.run

        def held(works: Any) -> Any:
            self.entered.set()
            assert self.go.wait(60)
            return real(works)

        monkeypatch.setattr(runner, "run", held)

    async def until_entered(self) -> None:
        while not self.entered.is_set():
            await asyncio.sleep(0.001)


def gate_of(places: int = 256, **rules: KeyRules) -> KeyedGate:
    known = Keys({name: one for name, one in rules.items()}) if rules else None
    admission = Admission(AdmissionConfig(max_requests=places), lambda: 0.0)
    return KeyedGate(known, admission, UsageStore(None))


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_blocks_before_the_next_but_one_pass(
    stream: bool, serving: Serving
) -> None:
    async def go() -> tuple[bool, int]:
        async with serving() as client:
            call = Call(client.app, COMPLETIONS, {**LONG, "stream": stream})  # type: ignore[attr-defined]
            while client.thread.load().drawn_tokens < 5:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)
            call.leave()
            await call.task
            before = client.thread.steps  # type: ignore[attr-defined]
            free = await all_free(client)
            return free, client.thread.steps - before  # type: ignore[attr-defined]

    free, steps = run(go())
    assert free and steps <= 1


def test_a_client_that_leaves_within_its_body_is_no_failure_of_the_server(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> int:
        async with serving() as client:
            call = Call(client.app, COMPLETIONS, LONG, whole=False)  # type: ignore[attr-defined]
            await call.task
            return call.status

    assert run(go()) == 499 and caplog.records == []


def test_after_hundreds_of_clients_that_come_and_go_every_block_and_place_is_free(serving: Serving) -> None:
    generator = random.Random(5)
    gate = gate_of()

    async def one(client: Any) -> None:
        body = {
            "prompt": [generator.randrange(3, 250) for _ in range(generator.randrange(1, 60))],
            "max_tokens": generator.randrange(1, 12),
            "stream": generator.random() < 0.5,
            "n": generator.choice([1, 1, 2]),
            "ignore_eos": True,
        }
        call = Call(client.app, COMPLETIONS, body)
        if generator.random() < 0.7:
            for _ in range(generator.randrange(12)):
                await asyncio.sleep(0)
            if generator.random() < 0.5:
                await call.until(b"data: ")
            call.leave()
        await call.task

    async def go() -> tuple[bool, Any, int]:
        async with serving(gate=gate, engine=EngineConfig(positions=1024)) as client:
            todo = iter(range(400))

            async def worker() -> None:
                for _ in todo:
                    await one(client)

            await asyncio.gather(*(worker() for _ in range(25)))
            state = client.app.state.serve  # type: ignore[attr-defined]
            return await all_free(client), client.thread._sinks, state.in_flight  # type: ignore[attr-defined]

    free, sinks, in_flight = run(go())
    assert free and sinks == {} and in_flight == 0
    assert (gate.admission.requests, gate.admission.tokens) == (0, 0)


def test_a_pass_that_fails_fails_its_batch_and_the_next_request_works(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> tuple[Any, bytes, Any, bool]:
        async with serving() as client:
            runner = engine_of(client)._runner
            real, failed = runner.run, False

            def fails_once(works: Any) -> Any:
                nonlocal failed
                if not failed and len(works) == 2:  # both have come
                    failed = True
                    raise RuntimeError("secretword")
                return real(works)

            monkeypatch.setattr(runner, "run", fails_once)
            stream = Call(client.app, COMPLETIONS, {**LONG, "stream": True})  # type: ignore[attr-defined]
            whole = await client.post(COMPLETIONS, json=LONG)
            await stream.task
            return whole, stream.body, await client.post(COMPLETIONS, json=SHORT), await all_free(client)

    whole, events, after, free = run(go())
    last = json.loads(events.strip().splitlines()[-1].removeprefix(b"data: "))
    assert whole.status_code == 500 and last["error"]["code"] == "internal_error"
    assert b"secretword" not in events and "secretword" not in whole.text
    assert after.status_code == 200 and free


def test_scores_that_are_not_numbers_fail_their_own_request_only(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {**LONG, "max_tokens": 30, "temperature": 0}

    async def go() -> tuple[Any, Any, Any, bool]:
        async with serving() as client:
            alone = await client.post(COMPLETIONS, json=good)
            runner = engine_of(client)._runner
            real = runner.run

            def spoiled(works: Any) -> Any:
                scores = real(works)
                return [
                    np.full_like(rows, np.nan) if rows is not None and 99 in work.text.tokens[:3] else rows
                    for work, rows in zip(works, scores, strict=True)
                ]

            monkeypatch.setattr(runner, "run", spoiled)
            bad = client.post(COMPLETIONS, json={**good, "prompt": [99, 98, 97]})
            beside, spoilt = await asyncio.gather(client.post(COMPLETIONS, json=good), bad)
            return alone, beside, spoilt, await all_free(client)

    alone, beside, spoilt, free = run(go())
    assert beside.json()["choices"] == alone.json()["choices"] and free
    assert spoilt.status_code == 500, spoilt.text


def test_health_metrics_and_refusals_are_answered_while_a_pass_takes_its_time(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> tuple[list[int], bool]:
        async with serving() as client:
            held = Held(client, monkeypatch)
            asked = asyncio.create_task(client.post(COMPLETIONS, json=SHORT))
            await held.until_entered()
            paths = ("/health", "/ready", "/metrics", "/v1/models", "/openapi.json")
            found = [(await client.get(path)).status_code for path in paths]
            found.append((await client.post(COMPLETIONS, json={"prompt": "a", "n": 10**9})).status_code)
            before = not asked.done()
            held.go.set()
            found.append((await asked).status_code)
            return found, before

    found, before = run(go())
    assert found == [200] * 5 + [400, 200] and before


def test_a_full_queue_says_when_to_come_back_while_the_engine_is_busy(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> tuple[Any, Any, bool, int]:
        async with serving(gate=gate_of(places=2)) as client:
            held = Held(client, monkeypatch)
            asked = [asyncio.create_task(client.post(COMPLETIONS, json=SHORT)) for _ in range(2)]
            await held.until_entered()
            while client.app.state.serve.gate.admission.requests < 2:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)
            full = await client.post(COMPLETIONS, json=SHORT)
            anthropic = await client.post(
                "/v1/messages", json={"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
            )
            before = not any(one.done() for one in asked)
            held.go.set()
            await asyncio.gather(*asked)
            return full, anthropic, before, (await client.post(COMPLETIONS, json=SHORT)).status_code

    full, anthropic, before, after = run(go())
    assert before and after == 200
    assert full.status_code == 503 and full.json()["error"]["code"] == "queue_full"
    assert 1 <= int(full.headers["retry-after"]) <= 60
    assert anthropic.status_code == 529 and "retry-after" in anthropic.headers


def owner(name: str, priority: int = 0) -> KeyRules:
    return KeyRules(sha256=digest_of(name), priority=priority)


@asynccontextmanager
async def crowd(
    serving: Serving, gate: KeyedGate, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Callable[..., Any], list[str]]]:
    """A server of two texts at once whose passes begin when all have asked: `ask(key)`, and who was done."""
    done: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    async with serving(gate=gate, engine=EngineConfig(positions=2048, max_texts=2)) as client:
        held = Held(client, monkeypatch)

        async def work(key: str, body: dict[str, Any]) -> None:
            answer = await client.post(COMPLETIONS, json=body, headers={"x-api-key": key})
            assert answer.status_code == 200, answer.text
            done.append(key)

        async def ask(key: str, **more: Any) -> None:
            tasks.append(asyncio.create_task(work(key, {**SHORT, "max_tokens": 8, **more})))
            thread = client.thread  # type: ignore[attr-defined]
            while len(thread._sinks) + thread._inbox.qsize() < len(tasks):
                await asyncio.sleep(0.001)

        yield ask, done
        held.go.set()
        await asyncio.gather(*tasks)


def test_a_key_with_many_requests_does_not_make_another_wait_for_them_all(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> list[str]:
        gate = gate_of(many=owner("many"), one=owner("one"))
        async with crowd(serving, gate, monkeypatch) as (ask, done):
            for _ in range(30):
                await ask("many")
            await ask("one")
        return done

    done = run(go())
    assert len(done) == 31 and done.index("one") <= 4, done


def test_an_urgent_request_overtakes_the_queue_and_the_last_one_is_done_too(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> list[str]:
        gate = gate_of(slow=owner("slow", 10), fast=owner("fast", 0))
        async with crowd(serving, gate, monkeypatch) as (ask, done):
            await ask("slow", priority=-50)  # a key cannot be more urgent than it may
            for _ in range(20):
                await ask("slow")
            await ask("fast")
        return done

    done = run(go())
    assert done.index("fast") <= 3 and len(done) == 22, done


def test_a_seed_gives_the_same_text_alone_and_in_a_crowd(serving: Serving) -> None:
    body = {"prompt": IDS, "max_tokens": 20, "seed": 7, "temperature": 1.2, "ignore_eos": True}

    async def go() -> list[Any]:
        async with serving() as client:
            alone = await client.post(COMPLETIONS, json=body)
            others = [client.post(COMPLETIONS, json={**body, "prompt": [one]}) for one in range(3, 20)]
            found = await asyncio.gather(client.post(COMPLETIONS, json=body), *others)
            return [one.json()["choices"][0]["text"] for one in (alone, found[0], found[1])]

    alone, crowded, other = run(go())
    assert alone == crowded != other


def test_usage_is_the_tokenizers_count_and_what_the_cache_had(serving: Serving, tokenizer: Any) -> None:
    text = "the quick brown fox jumps over the lazy dog " * 5

    async def go() -> list[dict[str, Any]]:
        async with serving() as client:
            body = {"prompt": text, "max_tokens": 4, "ignore_eos": True}
            return [(await client.post(COMPLETIONS, json=body)).json()["usage"] for _ in range(2)]

    first, second = run(go())
    count = len(tokenizer.backend.encode(text).ids)
    assert first["prompt_tokens"] == second["prompt_tokens"] == count
    assert first["completion_tokens"] == 4 and first["total_tokens"] == count + 4
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0 < cached < count


def test_a_server_about_to_end_finishes_what_runs_and_takes_nothing_new(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> tuple[list[int], Any]:
        async with serving() as client:
            held = Held(client, monkeypatch)
            asked = asyncio.create_task(client.post(COMPLETIONS, json=SHORT))
            await held.until_entered()
            client.app.state.serve.draining = True  # type: ignore[attr-defined]
            new = await client.post(COMPLETIONS, json=SHORT)
            found = [(await client.get(path)).status_code for path in ("/health", "/ready")]
            held.go.set()
            return [*found, (await asked).status_code], new

    found, new = run(go())
    assert found == [200, 503, 200]
    assert new.status_code == 503 and "retry-after" in new.headers


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
CONTENT = st.text(max_size=20) | st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "input_text", "image_url", "x"]), "text": JSON}),
    max_size=3,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"id": JSON, "function": st.fixed_dictionaries({"name": st.text(), "arguments": JSON})}
    )
    | JSON,
    max_size=2,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system", "tool", "developer"]),
            "content": CONTENT | JSON,
        },
        optional={"tool_calls": CALLS, "name": JSON, "tool_call_id": JSON},
    ),
    max_size=4,
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("function"),
            "function": st.fixed_dictionaries(
                {"name": st.sampled_from(["f", "g", "a b"]), "parameters": JSON}
            ),
        }
    ),
    max_size=2,
)
FIELDS = {
    **dict.fromkeys(("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty"), NUMBER),
    **dict.fromkeys(
        ("top_k", "n", "seed", "logprobs", "top_logprobs", "priority"), st.integers() | st.booleans()
    ),
    **dict.fromkeys(("stream", "echo", "ignore_eos"), st.booleans()),
    **dict.fromkeys(("stop", "logit_bias", "response_format", "stream_options", "user", "tool_choice"), JSON),
    "max_tokens": st.integers(-2, 6),
    "tools": TOOLS | JSON,
    "stop_sequences": st.lists(st.text(max_size=4), max_size=3),
}
PROMPTS = (
    st.text(max_size=20) | st.lists(st.integers(-2, 400), max_size=9) | st.lists(st.text(max_size=4)) | JSON
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An endpoint, and a body that is nearly right: most of them get beyond the first check."""
    path = draw(
        st.sampled_from([COMPLETIONS, CHAT, "/v1/responses", "/v1/messages", "/tokenize", "/apply-template"])
    )
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True))
    body = {name: draw(FIELDS[name]) for name in names}
    if path == COMPLETIONS:
        body["prompt"] = draw(PROMPTS)
    elif path == "/v1/responses":
        body["input"] = draw(st.text(max_size=20) | MESSAGES | JSON)
        body.pop("max_tokens", None)
        body["max_output_tokens"] = draw(st.integers(1, 6))
    else:
        body["messages"] = draw(MESSAGES)
        if path != "/apply-template" and path != "/tokenize":
            body.setdefault("max_tokens", 3)
    return path, body


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(asked=requests())
def test_no_body_makes_the_server_fail(asked: tuple[str, dict[str, Any]], shared: Shared) -> None:
    path, body = asked
    answer = shared.post(path, json.dumps(body).encode())
    assert answer.status_code < 500 or answer.status_code == 529, f"{path} {body} {answer.text}"
    if (
        answer.status_code == 200
        and body.get("stream") is True
        and path not in ("/tokenize", "/apply-template")
    ):
        last = answer.text.strip().splitlines()[-1]
        assert last == "data: [DONE]" or '"type":"message_stop"' in last or '"type":"response.' in last, last
