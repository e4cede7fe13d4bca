"""llmkit bench serve on the command line: what is wrong is said before anything is sent, and what is sent."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from llmkit.probe.load import open_client

USAGE = {"prompt_tokens": 9, "completion_tokens": 2}


class Listener(BaseHTTPRequestHandler):
    """Answers every prompt with one word, streamed where that is asked for, and remembers what was sent."""

    asked: list[dict[str, Any]]
    keys: list[str | None]
    refusal: dict[str, Any] | None = None

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        self.keys.append(self.headers["Authorization"])
        whole = {"choices": [{"text": "a"}], "usage": USAGE}
        answer, kind = json.dumps(whole), "application/json"
        if body["stream"]:
            answer, kind = f"data: {answer}\n\ndata: [DONE]\n\n", "text/event-stream"
        if self.refusal is not None:
            answer, kind = json.dumps(self.refusal), "application/json"
        self.send_response(200 if self.refusal is None else 400)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None:
        """Nothing: stderr is the command's."""


@pytest.fixture
def asked() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a listener, and what it was sent."""
    Listener.asked, Listener.keys = [], []
    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", Listener.asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        ((), 2, "--url"),
        (("--url", "http://127.0.0.1:9"), 2, "nothing says when the load ends"),
        (
            ("--url", "http://127.0.0.1:9", "--requests", "1", "--long-share", "2"),
            2,
            "is not between 0 and 100%",
        ),
        (("--url", "http://127.0.0.1:9", "--requests", "1"), 1, "no answer (ConnectError)"),
    ],
)
def test_what_cannot_be_measured_is_said(
    args: tuple[str, ...], status: int, says: str, llmkit_run: Callable[..., Any]
) -> None:
    done = llmkit_run("bench", "serve", *args)
    assert says in done.err and done.status >= 1 and done.out == b""
    assert (done.status == 2) == (status == 2)


@pytest.mark.parametrize(
    ("flags", "stream", "ignore_eos"),
    [((), True, True), (("--no-stream",), False, True), (("--no-ignore-eos",), True, None)],
)
def test_answers_are_streams_of_full_length_unless_that_is_refused(
    flags: tuple[str, ...],
    stream: bool,
    ignore_eos: bool | None,
    llmkit_run: Callable[..., Any],
    asked: tuple[str, list[dict[str, Any]]],
) -> None:
    url, bodies = asked
    done = llmkit_run(
        "bench", "serve", "--url", url, "--model", "m", "--requests", "2", *flags, "--format", "json"
    )
    assert done.status == 0, done.err
    assert len(bodies) == 3  # the first asks how many tokens a word is
    assert {(body["stream"], body.get("ignore_eos")) for body in bodies} == {(stream, ignore_eos)}


def test_what_is_said_about_requests_reaches_them(
    asked: tuple[str, list[dict[str, Any]]], llmkit_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, bodies = asked
    waits: list[float] = []

    def opened(*to: Any, seconds: float, **more: Any) -> Any:
        waits.append(seconds)
        return open_client(*to, seconds=seconds, **more)

    monkeypatch.setattr("llmkit.workflows.bench.serve.open_client", opened)
    flags = ["--long-share", "99%", "--long-max-tokens", "5", "--max-tokens", "3", "--shared-tokens", "60"]
    flags += ["--prompt-tokens", "80", "--timeout", "2m"]
    done = llmkit_run("bench", "serve", "--url", url, "-m", "x", "--requests", "8", *flags)
    assert done.status == 0, done.err
    prompts = [body["prompt"] for body in bodies if body["max_tokens"] == 5]
    assert len(prompts) >= 6 and waits == [120.0]
    assert len({tuple(prompt.split()[:6]) for prompt in prompts}) == 1 < len(set(prompts))


def test_the_servers_own_words_are_said_where_requests_failed(
    asked: tuple[str, list[dict[str, Any]]],
    llmkit_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Listener, "refusal", {"error": {"message": "max_tokens: at most 5"}})
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    line = ("bench", "serve", "--url", asked[0], "-m", "x", "--prompts", tmp_path / "p.jsonl")
    done = llmkit_run(*line)
    assert done.status == 1 and "(2 × 400: max_tokens: at most 5)" in done.err
    assert "failed: 2 × 400: max_tokens: at most 5" in done.out.decode()
    assert b"400: max_tokens: at most 5" in llmkit_run(*line, "--format", "csv").out


def test_a_baseline_is_held_against_and_a_key_comes_from_a_file_or_the_environment(
    asked: tuple[str, list[dict[str, Any]]],
    llmkit_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, _ = asked
    monkeypatch.setenv("OPENAI_API_KEY", "")  # set, and no key
    line = ("bench", "serve", "--url", url, "-m", "x", "--requests", "3", "--no-stream", "--format", "json")
    first = llmkit_run(*line)
    assert first.status == 0, first.err
    earlier = json.loads(first.out)
    (tmp_path / "slow.json").write_bytes(first.out)
    assert llmkit_run(*line, "--baseline", tmp_path / "slow.json", "--fail-slower", "99.9%").status == 0
    earlier["rows"][0]["tokens_per_second"] *= 1e6
    (tmp_path / "fast.json").write_text(json.dumps(earlier))
    done = llmkit_run(*line, "--baseline", tmp_path / "fast.json", "--fail-slower", "10%")
    assert done.status == 1 and "tokens/s, was" in done.err and done.out
    (tmp_path / "key").write_text("# ours\nk-from-a-file\nanother\n")
    assert llmkit_run(*line, "--api-key-file", tmp_path / "key").status == 0
    (tmp_path / "key").write_text("\n")
    assert llmkit_run(*line, "--api-key-file", tmp_path / "key").status == 3
    monkeypatch.setenv("OPENAI_API_KEY", "k-from-here")
    assert llmkit_run(*line).status == 0
    assert list(dict.fromkeys(Listener.keys)) == [None, "Bearer k-from-a-file", "Bearer k-from-here"]
