"""The load generator against a server made up here: a token for each word; it remembers what it was sent."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmkit.errors import ConfigError, DataError, RemoteError, UsageError
from llmkit.probe.load_config import BenchServeConfig
from llmkit.workflows.bench.serve import PROMPTS, bench_serve, plan_load


class Peer:
    """A server whose tokens are words."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: set[str | None] = set()
        self.url = ""
        self.listed = [{"id": "words"}]
        self.refusal: Response | None = None
        self.context = 1000

    async def models(self, request: Request) -> Response:
        return self.refusal or JSONResponse({"data": self.listed})

    async def answer(self, request: Request) -> Response:
        if self.refusal is not None:
            return self.refusal
        body = await request.json()
        self.bodies.append(body)
        self.paths.append(request.url.path)
        self.keys.add(request.headers.get("authorization"))
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        if len(prompt.split()) >= self.context:
            return JSONResponse({"error": {"message": "too long"}}, 400)
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": body["max_tokens"]}
        if not body["stream"]:
            return JSONResponse({"choices": [{"text": "a"}], "usage": usage})
        told = [{"choices": [{"text": "a"}]}] * body["max_tokens"] + [{"choices": [], "usage": usage}]
        lines = [f"data: {json.dumps(one)}\n\n" for one in told]
        return Response("".join(lines) + "data: [DONE]\n\n", media_type="text/event-stream")


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    routes = [Route("/v1/models", made.models)]
    routes += [
        Route(f"/v1/{one}", made.answer, methods=["POST"]) for one in ("completions", "chat/completions")
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_config=None, lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        pass
    made.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield made
    server.should_exit = True
    thread.join()


def test_a_server_whose_context_is_short_is_asked_with_fewer_words(peer: Peer) -> None:
    peer.context = 64
    report = bench_serve(peer.url, BenchServeConfig(requests=2, prompt_tokens=20, max_tokens=3))
    assert [len(one["prompt"].split()) for one in peer.bodies] == [100, 10, 20, 20]
    assert report.rows[0].failed == 0
    peer.context = 5
    with pytest.raises(RemoteError, match=r"400: too long"):
        bench_serve(peer.url, BenchServeConfig(requests=2, prompt_tokens=20, max_tokens=3))


def test_short_and_long_prompts_have_the_sizes_asked_for_by_the_servers_own_count(peer: Peer) -> None:
    config = BenchServeConfig(
        requests=40, concurrency=4, prompt_tokens=20, max_tokens=3, long_share=0.5, long_prompt_tokens=90,
        long_max_tokens=5, shared_tokens=10,
    )  # fmt: skip
    report = bench_serve(peer.url + "/v1", config, api_key="k")
    sent = peer.bodies[1:]  # the first asks how many tokens a word is
    assert len(sent) == 40 and peer.keys == {"Bearer k"}
    sizes = {(len(one["prompt"].split()), one["max_tokens"]) for one in sent}
    assert sizes == {(20, 3), (90, 5)}
    assert len({" ".join(one["prompt"].split()[:10]) for one in sent}) == 1
    assert len({one["prompt"] for one in sent}) == 40
    rows = {row.kind: row for row in report.rows}
    long = [one for one in sent if one["max_tokens"] == 5]
    assert rows["long"].requests == len(long) and rows["long"].completion_tokens == 5 * len(long)
    assert rows["all"].prompt_tokens == sum(len(one["prompt"].split()) for one in sent)
    assert rows["all"].failed == 0 and report.work["model"] == "words"


def test_the_same_seed_sends_the_same_requests_at_a_rate_too(peer: Peer) -> None:
    config = BenchServeConfig(requests=10, rate=500.0, max_tokens=1, seed=3)
    for _ in range(2):
        bench_serve(peer.url, config)
    prompts = [one["prompt"] for one in peer.bodies]
    assert sorted(prompts[1:11]) == sorted(prompts[12:22])


def test_rows_of_a_file_are_sent_in_turn_each_to_its_endpoint(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a b"}\n{"messages": [{"role": "user", "content": "c d e"}]}\n')
    config = BenchServeConfig(requests=3, concurrency=1, max_tokens=1, stream=False, ignore_eos=False)
    report = bench_serve(peer.url, config, model="mine", prompts=path)
    assert peer.paths == ["/v1/completions", "/v1/chat/completions", "/v1/completions"]
    assert {one["model"] for one in peer.bodies} == {"mine"}
    assert not any("ignore_eos" in one or "stream_options" in one for one in peer.bodies)
    (row,) = report.rows
    assert (row.prompt_tokens, row.first_token) == (7, None)


def test_a_row_may_say_how_many_tokens_it_asks_for_and_a_load_is_another_when_it_says_otherwise(
    peer: Peer, tmp_path: Path
) -> None:
    def load(*own: int | None, **config: Any) -> tuple[list[int], dict[str, Any]]:
        path = tmp_path / "prompts.jsonl"
        rows = [{"prompt": "a"} | ({} if one == -1 else {"max_tokens": one}) for one in own]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        made = BenchServeConfig(concurrency=1, **{"max_tokens": 2, **config})
        plan = plan_load(peer.url, made, prompts=path)
        peer.bodies.clear()
        work = bench_serve(peer.url, made, model="m", prompts=path).work
        assert plan.max_tokens == work["max_tokens"]
        return [one["max_tokens"] for one in peer.bodies], work

    without = load(-1, -1)
    assert load(None, -1) == without and without[0] == [2, 2] and without[1]["max_tokens"] == 2
    mixed = load(5, -1)
    assert mixed[0] == [5, 2] and mixed[1]["max_tokens"] is None
    assert load(5, 2, max_tokens=9) == mixed  # nothing else is sent
    assert load(5, -1, max_tokens=9)[1] != mixed[1] != load(4, -1)[1]
    assert load(5, 5)[1]["max_tokens"] == 5


def test_a_load_is_another_when_anything_that_is_sent_or_when_it_ends_is_another(
    peer: Peer, tmp_path: Path
) -> None:
    rows = [{"prompt": "a b"}, {"messages": [{"role": "user", "content": "c"}]}]
    files = [tmp_path / name for name in ("a.jsonl", "same.jsonl", "other.jsonl", "turned.jsonl")]
    for path, content in zip(files, (rows, rows, [rows[0], rows[0]], rows[::-1]), strict=True):
        path.write_text("".join(json.dumps(row) + "\n" for row in content))

    def work(path: Path | None = files[0], **config: Any) -> dict[str, Any]:
        return bench_serve(peer.url, BenchServeConfig(max_tokens=1, **config), prompts=path).work

    then = work()
    assert work(files[1]) == work(requests=2) == then  # a file's name does not matter, nor who says how many
    assert then[PROMPTS] not in {work(path)[PROMPTS] for path in (files[2], files[3])}
    assert work(None, requests=2)[PROMPTS] is None
    for key, value in {"ignore_eos": False, "chat": True, "requests": 3, "seconds": 0.5}.items():
        assert work(**{key: value})[key] == value != then[key]


@pytest.mark.parametrize("url", ["server:8000", "http://a:b/v1", "http://[::1/v1"])
def test_what_is_no_url_is_refused_before_anything_is_sent(url: str) -> None:
    for bench in (bench_serve, plan_load):
        with pytest.raises(UsageError, match=r"--url .*: not a URL"):
            bench(url, BenchServeConfig(requests=1))


def test_nobody_there_is_said_so() -> None:
    with pytest.raises(RemoteError, match="no answer") as caught:
        bench_serve("http://127.0.0.1:9", BenchServeConfig(requests=1))
    assert caught.value.status == 6


def test_a_server_that_refuses_the_load_is_named_before_it_begins(peer: Peer) -> None:
    with pytest.raises(RemoteError, match=r"does not take the load \(404\)"):
        bench_serve(peer.url + "/nowhere", BenchServeConfig(requests=1))
    peer.listed = []
    with pytest.raises(DataError, match="lists no model"):
        bench_serve(peer.url, BenchServeConfig(requests=1))


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (401, "no such key", "--api-key-file"),
        (404, "model: there is no 'm' here", "--model"),
        (503, "the server is about to end", "/ready"),
        (400, "ignore_eos: no such parameter", "--no-ignore-eos"),
        (400, "max_tokens: at most 5", "log"),
    ],
)
@pytest.mark.parametrize("model", [None, "m"])
def test_a_refusal_is_the_remotes_with_its_own_words_and_a_hint_that_fits(
    status: int, message: str, hint: str, model: str | None, peer: Peer
) -> None:
    peer.refusal = JSONResponse({"error": {"message": message, "code": "c"}}, status)
    with pytest.raises(RemoteError) as caught:
        bench_serve(peer.url, BenchServeConfig(requests=1), model=model)
    assert caught.value.status == 6 and f"({status}: {message})" in caught.value.problem
    assert hint in caught.value.hint and ("ignore-eos" in caught.value.hint) == ("ignore_eos" in message)


def test_a_file_of_prompts_is_gone_through_once_and_made_up_ones_need_an_end(
    peer: Peer, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"p{n}"}) + "\n" for n in range(5)))
    bench_serve(peer.url, BenchServeConfig(rate=500.0, max_tokens=1), prompts=path)
    assert sorted(one["prompt"] for one in peer.bodies) == [f"p{n}" for n in range(5)]
    with pytest.raises(ConfigError, match="when the load ends"):
        bench_serve(peer.url, BenchServeConfig())


def test_a_plan_asks_no_server_and_knows_the_load(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    plan = plan_load("http://127.0.0.1:9", BenchServeConfig(rate=5.0), prompts=path)
    assert (plan.requests, plan.prompts, plan.prompt_tokens) == (2, 2, None)
    assert plan.arrivals == "5 a second at random"
    made_up = plan_load("http://127.0.0.1:9", BenchServeConfig(seconds=3.0, prompt_tokens=7))
    assert (made_up.requests, made_up.seconds, made_up.prompts, made_up.prompt_tokens) == (None, 3.0, None, 7)
    with pytest.raises(ConfigError, match="when the load ends"):
        plan_load("http://127.0.0.1:9", BenchServeConfig())
