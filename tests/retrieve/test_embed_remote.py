"""Vectors from a server: ours, and servers that fail in every way."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from llmkit.errors import RemoteError, UsageError
from llmkit.model.transformer import Transformer
from llmkit.retrieve.config import SearchFlags
from llmkit.retrieve.embed import Embedder
from llmkit.retrieve.embed_remote import TEXTS, TRIES, RemoteEmbedder
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from tests.server.conftest import model, served_app, tokenizer, tokenizer_folder

__all__ = ["model", "tokenizer", "tokenizer_folder"]


@pytest.fixture
def own_server(model: Transformer, tokenizer_folder: Path) -> Iterator[httpx.BaseTransport]:
    """Speaks with `llmkit serve` in this process, in a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def opened() -> httpx.AsyncClient:
        app, _ = await stack.enter_async_context(served_app(model, tokenizer_folder))
        return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False))

    client = wait(opened())

    def handle(request: httpx.Request) -> httpx.Response:
        answer = wait(client.post(str(request.url), content=request.content))
        return httpx.Response(answer.status_code, content=answer.content)

    yield httpx.MockTransport(handle)
    wait(stack.aclose())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_our_own_server_gives_the_vectors_of_the_model_itself(
    own_server: httpx.BaseTransport, model: Transformer, tokenizer_folder: Path
) -> None:
    texts = ["the quick brown fox", " ", "lazy dog", *(f"text {number}" for number in range(TEXTS))]
    remote = RemoteEmbedder("http://server", transport=own_server)
    local = Embedder(model, PromptEncoder(load_tokenizer(tokenizer_folder)))
    assert (remote.width, remote.name) == (local.width, "tiny")
    expected = local.embed(texts)
    expected[1] = 0  # a server is not asked about nothing
    np.testing.assert_allclose(remote.embed(texts), expected, atol=1e-5)


def test_our_servers_own_words_are_told_where_it_refuses(own_server: httpx.BaseTransport) -> None:
    remote = RemoteEmbedder("http://server/v1", transport=own_server)
    with pytest.raises(RemoteError, match=r"400: input: .* tokens, and the context has 256"):
        remote.embed(["word " * 400])
    with pytest.raises(RemoteError, match=r"404: .*nobody"):
        RemoteEmbedder("http://server/v1", model="nobody", transport=own_server)


Handle = Callable[[int, list[str]], httpx.Response]


class Scripted:
    """A server that answers by a script, and the waits that it brought about."""

    def __init__(self, handle: Handle) -> None:
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []
        self._handle = handle

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._handle(len(self.requests), json.loads(request.content)["input"])

    def open(self, url: str = "http://server", **more: Any) -> RemoteEmbedder:
        return RemoteEmbedder(url, transport=httpx.MockTransport(self), sleep=self.waits.append, **more)


def vectors(texts: list[str], width: int = 2) -> httpx.Response:
    """Backwards: an answer says which is whose."""
    data = [
        {"index": place, "embedding": [len(text), *[1] * (width - 1)]} for place, text in enumerate(texts)
    ]
    return httpx.Response(200, json={"data": data[::-1], "model": "lengths"})


def test_what_may_pass_is_tried_again_later_and_later_or_when_the_server_says() -> None:
    def handle(number: int, texts: list[str]) -> httpx.Response:
        if number == 1:
            return httpx.Response(503)
        if number == 2:
            raise httpx.ConnectError("refused")
        return httpx.Response(429, headers={"retry-after": "7"}) if number == 3 else vectors(texts)

    server = Scripted(handle)
    assert server.open().width == 2
    assert server.waits == [0.5, 1.0, 7.0]


def test_what_does_not_pass_ends_after_so_many_tries() -> None:
    def handle(number: int, texts: list[str]) -> httpx.Response:
        raise httpx.ReadTimeout("no answer")

    server = Scripted(handle)
    with pytest.raises(RemoteError, match=rf"http://server: no answer \({TRIES} times\)") as caught:
        server.open()
    assert caught.value.status == 6
    assert len(server.requests) == TRIES and server.waits == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_refusal_is_not_tried_again() -> None:
    server = Scripted(lambda number, texts: httpx.Response(401, json={"error": {"message": "no\n key"}}))
    with pytest.raises(RemoteError, match="401: no key"):
        server.open()
    assert len(server.requests) == 1 and not server.waits


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b'{"data": []}',
        b'{"data": [{"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": ["a"]}]}',
    ],
)
def test_an_answer_that_is_none_is_an_error_by_name(content: bytes) -> None:
    with pytest.raises(RemoteError, match="http://server: "):
        Scripted(lambda number, texts: httpx.Response(200, content=content)).open()


def test_a_server_that_changes_its_width_is_found_out() -> None:
    remote = Scripted(lambda number, texts: vectors(texts, width=number + 1)).open()
    with pytest.raises(RemoteError, match="vectors of 3 numbers, where there were 2"):
        remote.embed(["a"])


def test_many_texts_go_in_several_requests_and_come_back_in_their_order() -> None:
    server = Scripted(lambda number, texts: vectors(texts))
    remote = server.open(model="m", key="k")
    texts = ["x" * number for number in range(1, 2 * TEXTS)] + ["y" * 300_000, "z" * 300_000]
    found = remote.embed(texts)
    lengths = np.array([[len(text), 1.0] for text in texts])
    np.testing.assert_allclose(found, lengths / np.linalg.norm(lengths, axis=1, keepdims=True), rtol=1e-6)
    sizes = [len(json.loads(one.content)["input"]) for one in server.requests]
    assert sizes == [1, TEXTS, TEXTS - 1, 1, 1]
    body = json.loads(server.requests[0].content)
    assert (body["model"], server.requests[0].headers["authorization"]) == ("m", "Bearer k")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://server", "/v1/embeddings"),
        ("http://server/v1/", "/v1/embeddings"),
        ("https://server/openai", "/openai/embeddings"),
        ("http://server/v1/embeddings", "/v1/embeddings"),
        ("unix:/run/llm.sock", "/v1/embeddings"),
    ],
)
def test_an_address_is_taken_as_people_write_it(url: str, path: str) -> None:
    server = Scripted(lambda number, texts: vectors(texts))
    server.open(url)
    assert server.requests[0].url.path == path


def test_a_server_that_is_given_up_has_its_connections_given_back() -> None:
    opened = Scripted(lambda number, texts: vectors(texts)).open()
    opened.close()
    with pytest.raises(RuntimeError, match="closed"):
        opened.embed(["a"])


def test_errors_name_the_flags_that_there_are_and_a_late_server_is_given_more_time() -> None:
    flags = SearchFlags(embed_url="--u", embed_name="--n", embed_key="--k", seconds=None)
    refuses = Scripted(lambda number, texts: httpx.Response(401))
    with pytest.raises(RemoteError) as caught:
        refuses.open(flags=flags)
    assert caught.value.hint.startswith("see its model (--n), its key (--k)")
    with pytest.raises(UsageError, match="--u x: no URL"):
        refuses.open("x", flags=flags)

    def late(number: int, texts: list[str]) -> httpx.Response:
        raise httpx.ReadTimeout("late")

    hints = []
    for one in (flags, SearchFlags()):
        with pytest.raises(RemoteError, match=r"no answer within 0\.1 seconds") as caught:
            Scripted(late).open(flags=one, seconds=0.1)
        hints.append(caught.value.hint)
    assert hints == ["curl http://server/v1/embeddings", "give it more time: --index-timeout"]


@pytest.mark.parametrize("url", ["server:8000", "http://a..b/v1", "http://[::1/v1", "http://server:port"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no URL"):
        RemoteEmbedder(url)
