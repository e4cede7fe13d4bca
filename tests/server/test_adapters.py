"""Adapters come and go while texts are written: a request ends with what it was let in with."""

import asyncio
from typing import Any

import httpx
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.model.transformer import Transformer
from llmkit.server.adapters import AdapterSpec, ServedAdapters
from llmkit.server.errors import ApiError
from llmkit.tokens.tokenizer import Tokenizer
from tests.server.adapters_made import BYTES, read
from tests.server.conftest import Serving

PROMPT = [72, 101, 108, 108, 111]
BODY = {"prompt": PROMPT, "max_tokens": 12, "temperature": 0, "ignore_eos": True}


def alone(model: Transformer, tokenizer: Tokenizer, path: str | None, tokens: int = 12) -> str:
    """What an engine of its own writes with an adapter."""
    engine = Engine(model)
    if path is not None:
        engine.adapters.load("a", read(AdapterSpec("a", path)))
    sampling = SamplingConfig(temperature=0.0, max_tokens=tokens, ignore_eos=True)
    request = Request(tuple(PROMPT), sampling, adapter=None if path is None else "a")
    ids = [one.id for one in engine.run(request)]
    whole, before = (tokenizer.backend.decode(row) for row in ([*PROMPT, *ids], PROMPT))  # no special token
    return whole[len(before) :]


def adapters(client: httpx.AsyncClient) -> ServedAdapters:
    (served,) = client.app.state.serve.models.all()  # type: ignore[attr-defined]
    return served.adapters  # type: ignore[no-any-return]


async def text(client: httpx.AsyncClient, name: str) -> Any:
    answer = await client.post("/v1/completions", json=BODY | {"model": name})
    return answer.json()["choices"][0]["text"] if answer.status_code == 200 else answer.status_code


def test_an_adapter_writes_from_its_loading_to_its_unloading(
    serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    async def go() -> list[Any]:
        async with serving(read=read) as client:
            seen = [await text(client, "tiny:poet")]
            assert await adapters(client).load(AdapterSpec("poet", "one")) == BYTES
            seen += [await text(client, "tiny:poet"), await text(client, "tiny")]
            await adapters(client).load(AdapterSpec("poet", "two"), replace=True)
            seen += [await text(client, "tiny:poet")]
            assert await adapters(client).unload("poet", wait_seconds=5)
            seen += [await text(client, "tiny:poet")]
            left = await client.thread.call(lambda: client.thread._engine.adapters.names)  # type: ignore[attr-defined]
            return [*seen, left]

    one, two, base = (alone(model, tokenizer, path) for path in ("one", "two", None))
    assert len({one, two, base}) == 3
    assert asyncio.run(go()) == [404, one, base, two, 404, ()]


@pytest.mark.parametrize("change", ["replace", "unload"])
def test_a_text_under_way_ends_with_the_adapter_that_it_began_with(
    change: str, serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    body = BODY | {"model": "tiny:poet", "max_tokens": 200}
    later = alone(model, tokenizer, "two") if change == "replace" else 404

    async def go() -> tuple[str, bool, int]:
        async with serving(read=read) as client:
            await adapters(client).load(AdapterSpec("poet", "one"))
            running = asyncio.create_task(client.post("/v1/completions", json=body))
            while not client.thread.load().running:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)
            freed = False
            if change == "replace":
                await adapters(client).load(AdapterSpec("poet", "two"), replace=True)
            else:
                freed = await adapters(client).unload("poet", wait_seconds=0)
            assert not running.done()
            assert await text(client, "tiny:poet") == later
            answer = (await running).json()["choices"][0]["text"]
            while (left := await _names(client)) != (("poet#2",) if change == "replace" else ()):
                await asyncio.sleep(0.001)
            return answer, freed, len(left)

    answer, freed, left = asyncio.run(go())
    assert answer == alone(model, tokenizer, "one", 200)
    assert not freed and left == (change == "replace")


async def _names(client: Any) -> tuple[str, ...]:
    return await client.thread.call(lambda: client.thread._engine.adapters.names)  # type: ignore[no-any-return]


def test_unloading_waits_for_a_request_that_was_let_in_and_is_not_yet_with_the_engine(
    serving: Serving,
) -> None:
    async def go() -> tuple[bool, bool]:
        async with serving(read=read) as client:
            await adapters(client).load(AdapterSpec("poet", "one"))
            with adapters(client).held("poet") as called:
                unloading = asyncio.create_task(adapters(client).unload("poet", wait_seconds=5))
                await asyncio.sleep(0.02)
                waits = not unloading.done() and called in await _names(client)
            return waits, await unloading

    assert asyncio.run(go()) == (True, True)


@pytest.mark.parametrize(
    ("name", "path", "status", "says"),
    [
        ("poet", "two", 409, "already"),
        ("new", "nowhere", 400, "no adapter"),
        ("new", "wide", 400, "takes 16 numbers"),
    ],
)
def test_what_cannot_be_loaded_is_refused_and_changes_nothing(
    name: str, path: str, status: int, says: str, serving: Serving
) -> None:
    async def go() -> list[str]:
        async with serving(read=read) as client:
            await adapters(client).load(AdapterSpec("poet", "one"))
            with pytest.raises(ApiError, match=says) as caught:
                await adapters(client).load(AdapterSpec(name, path))
            assert caught.value.status == status
            return list(adapters(client))

    assert asyncio.run(go()) == ["poet"]


def test_where_none_comes_or_goes_that_is_said() -> None:
    async def go() -> list[int]:
        fixed, found = ServedAdapters([(AdapterSpec("poet", "one"), 8)]), []
        for work in (fixed.load(AdapterSpec("b", "two")), fixed.unload("poet", wait_seconds=0)):
            with pytest.raises(ApiError) as caught:
                await work
            found.append(caught.value.status)
        assert fixed.all() == [(AdapterSpec("poet", "one"), 8)]
        return found

    assert asyncio.run(go()) == [400, 400]
