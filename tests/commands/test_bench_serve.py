"""llmkit bench serve on the command line: what is wrong is said before anything is sent, and what is sent."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

USAGE = {"prompt_tokens": 9, "completion_tokens": 2}


class Listener(BaseHTTPRequestHandler):
    """Answers every prompt with one word, streamed where that is asked for, and remembers what was sent."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        whole = {"choices": [{"text": "a"}], "usage": USAGE}
        answer, kind = json.dumps(whole), "application/json"
        if body["stream"]:
            answer, kind = f"data: {answer}\n\ndata: [DONE]\n\n", "text/event-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None:
        """Nothing: stderr is the command's."""


@pytest.fixture
def asked() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a listener, and what it was sent."""
    Listener.asked = []
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
        (("--url", "http://127.0.0.1:9", "-n", "1", "--long-share", "2"), 2, "is not between 0 and 100%"),
        (("--url", "http://127.0.0.1:9", "-n", "1"), 1, "no answer (ConnectError)"),
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
    done = llmkit_run("bench", "serve", "--url", url, "--model", "m", "-n", "2", *flags, "--format", "json")
    assert done.status == 0, done.err
    assert len(bodies) == 3  # the first asks how many tokens a word is
    assert {(body["stream"], body.get("ignore_eos")) for body in bodies} == {(stream, ignore_eos)}
