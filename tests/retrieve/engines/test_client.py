"""Requests to search engines: what passes, what is tried again, what is told."""

import base64
import itertools
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from llmkit.errors import DataError, MissingError, RemoteError
from llmkit.retrieve import retry
from llmkit.retrieve.config import SearchFlags
from llmkit.retrieve.engines import client as module
from llmkit.retrieve.engines.address import read_address
from llmkit.retrieve.engines.client import EngineClient, entry_of

ADDRESS = "opensearch+http://h/docs"
Answers = Callable[[httpx.Request], httpx.Response]


def client(answers: Answers, address: str = ADDRESS, **more: object) -> EngineClient:
    transport = httpx.MockTransport(answers)
    return EngineClient(read_address(address), transport=transport, sleep=lambda _: None, **more)  # type: ignore[arg-type]


def in_turn(*answers: httpx.Response | Exception) -> tuple[Answers, list[str]]:
    waiting, asked = iter(answers), list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        found = next(waiting)
        if isinstance(found, Exception):
            raise found
        return found

    return answer, asked


def test_what_may_pass_is_tried_again() -> None:
    answers, asked = in_turn(
        httpx.Response(503), httpx.ConnectError("refused"), httpx.Response(200, json={"a": 1})
    )
    assert client(answers).ask("GET", "/x") == {"a": 1}
    assert asked == ["http://h/x"] * 3


def test_waits_begin_with_the_first_and_double() -> None:
    answers, _ = in_turn(httpx.Response(503), httpx.Response(503), httpx.Response(200, json={}))
    waits: list[float] = []
    EngineClient(read_address(ADDRESS), transport=httpx.MockTransport(answers), sleep=waits.append).ask(
        "GET", "/x"
    )
    assert waits == [module._FIRST_WAIT_SECONDS, 2 * module._FIRST_WAIT_SECONDS] == [0.2, 0.4]


def test_words_of_a_broken_connection_that_look_like_a_status_are_none() -> None:
    answers, _ = in_turn(httpx.Response(503), *[httpx.ConnectError("404: no route")] * 2)
    with pytest.raises(RemoteError, match="404: no route"):
        client(answers).ask("GET", "/x")


def test_what_does_not_pass_is_told_in_the_engines_words() -> None:
    answers, asked = in_turn(*[httpx.Response(429, json={"error": "slow down"})] * 3)
    with pytest.raises(RemoteError, match=r"opensearch\+http://h/docs: 429: slow down"):
        client(answers).ask("GET", "/x")
    assert len(asked) == module.TRIES


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            400,
            {"error": {"root_cause": [{"reason": "no field"}], "reason": "all"}},
            RemoteError,
            "400: no field",
        ),
        (400, {"error": {"reason": "no field"}}, RemoteError, "400: no field"),
        (404, {"status": {"error": "no x"}}, MissingError, "no such collection .404: no x"),
        (401, {"error": "who?"}, RemoteError, "401: who"),
        (500, "a page", RemoteError, "500: .a page"),
    ],
)
def test_what_cannot_pass_is_asked_once(status: int, body: object, kind: type[Exception], said: str) -> None:
    answers, asked = in_turn(httpx.Response(status, json=body))
    with pytest.raises(kind, match=said) as caught:
        client(answers).ask("POST", "/x", {})
    assert len(asked) == 1
    assert ("--index-key" in caught.value.hint) == (status == 401)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "key", "name", "value"),
    [
        (ADDRESS, "me:secret", "authorization", f"Basic {base64.b64encode(b'me:secret').decode()}"),
        (ADDRESS, "VnVhQ2ZH", "authorization", "ApiKey VnVhQ2ZH"),
        ("qdrant+http://h/docs", "k:1", "api-key", "k:1"),
    ],
)
def test_a_key_goes_where_the_engine_looks_for_it(address: str, key: str, name: str, value: str) -> None:
    heard: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        heard.append(request.headers)
        return httpx.Response(200, json={})

    client(answer, address, key=key).ask("GET", "/x")
    assert heard[0][name] == value


class Drip(httpx.SyncByteStream):
    """A byte now and then, for ever."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        for _ in itertools.count():
            self._clock[0] += 1
            yield b" "


def test_an_answer_that_never_ends_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    with pytest.raises(RemoteError, match="no answer within 5 seconds"):
        client(lambda _: httpx.Response(200, stream=Drip(clock)), seconds=5).ask("GET", "/x")
    assert clock[0] < 10


def test_an_answer_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "MOST_BYTES", 100)
    with pytest.raises(RemoteError, match="more than"):
        client(lambda _: httpx.Response(200, stream=Drip([0.0]))).ask("GET", "/x")


def test_an_answer_that_is_no_json_or_of_another_form_is_told() -> None:
    with pytest.raises(RemoteError, match="no JSON"):
        client(lambda _: httpx.Response(200, text="<html>")).ask("GET", "/x")
    with pytest.raises(DataError, match=r"without hits\.0\.a"):
        entry_of({"hits": []}, "hits", 0, "a")
    assert entry_of({"hits": [{"a": 2}]}, "hits", 0, "a") == 2


def test_hints_name_the_flags_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def hint(answers: Answers, flags: SearchFlags) -> str:
        with pytest.raises(RemoteError) as caught:
            client(answers, flags=flags, seconds=0.1).ask("GET", "/x")
        return caught.value.hint

    def refused(_: httpx.Request) -> httpx.Response:
        return httpx.Response(401)

    def late(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late")

    monkeypatch.setattr(module, "_FIRST_WAIT_SECONDS", 1.0)
    here = SearchFlags(key="--retrieve-key", seconds=None)
    assert hint(refused, here).startswith("--retrieve-key FILE") and hint(late, here) == "curl http://h"
    assert hint(refused, SearchFlags(key=None)) == "curl http://h"
    assert hint(late, SearchFlags()) == "give it more time: --index-timeout"


def test_an_engine_that_keeps_still_is_given_up_in_time() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []
        accepting = threading.Thread(target=lambda: held.append(listening.accept()[0]))
        accepting.start()
        still = EngineClient(
            read_address(f"qdrant+http://127.0.0.1:{listening.getsockname()[1]}/d"), seconds=0.2
        )
        with pytest.raises(RemoteError, match=r"no answer within 0\.2 seconds"):
            still.ask("GET", "/collections/d")
        still.close()
        accepting.join()
        held[0].close()
