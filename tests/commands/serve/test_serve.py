"""llmkit serve from the command line: plans, keys, usage, and a server in a process of its own."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from llmkit.kernels.library import available, why_not
from llmkit.model.load import load_model
from llmkit.retrieve.embed import Embedder
from llmkit.server.answer import Usage
from llmkit.server.keys import digest_of
from llmkit.server.usage import UsageStore
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder


@pytest.fixture(scope="module")
def stories(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue("shared_data") / "models" / "stories260K"
    return folder


def test_a_dry_run_says_what_it_would_take_and_opens_no_port(
    llmkit_run: Callable[..., Any], stories: Path
) -> None:
    done = llmkit_run("serve", "-m", stories, "--dry-run", "--json", "--port", "1", "--batch", "4")
    plan = json.loads(done.out)
    assert (done.status, plan["schema"], plan["texts_at_once"]) == (0, "llmkit.serve-plan/1", 4)
    assert plan["name"] == "stories260K" and plan["context"] == 512 and plan["keys"] is None


def test_a_new_key_is_an_entry_on_stdout_and_a_secret_on_stderr(llmkit_run: Callable[..., Any]) -> None:
    done = llmkit_run("serve", "--new-key", "alice")
    key = done.err.split()[-1]
    assert tomllib.loads(done.text) == {"keys": {"alice": {"sha256": digest_of(key)}}}


def test_usage_is_shown_as_it_was_counted(llmkit_run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    store = UsageStore(path)
    store.charge("alice", "m", Usage(3, 0, 4), datetime.now(UTC))
    store.close()
    done = llmkit_run("serve", "--show-usage", "--usage", path, "--json")
    (row,) = json.loads(done.out)["rows"]
    assert (row["key"], row["requests"], row["completion_tokens"]) == ("alice", 1, 4)


ENGINE = ("--port", "0", "--retrieve", "opensearch+http://127.0.0.1:1/docs")
VECTORS = ("--port", "0", "--retrieve-by", "both", "--retrieve-embed-url", "http://b")
VECTORS += ("--retrieve-embed-name", "m", "--retrieve-embed-key", "no.key")
TLS = ("--tls-cert", "no.pem", "--tls-key", "its.pem")


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        ((), 2, "serve: no model"),
        (("",), 2, "serve: no model"),
        (("--show-usage",), 2, "--show-usage needs the file"),
        (("--show-usage", "--usage", "no.db"), 4, "--usage no.db: no such file"),
        (("-m", "nowhere"), 4, "nowhere"),
        (("-m", "{stories}", "--tls-key", "k"), 2, "a certificate and its key"),
        (("-m", "{stories}", *TLS, "--port", "0"), 4, "--tls-cert no.pem: no such file"),
        (("-m", "{stories}", *TLS, "--dry-run"), 4, "--tls-cert no.pem: no such file"),
        (("-m", "{stories}", *TLS, "--replicas", "2", "--dry-run"), 4, "--tls-cert no.pem: no such file"),
        (("--worker", "http://nowhere", *TLS, "--dry-run"), 4, "--tls-cert no.pem: no such file"),
        (("-m", "{stories}", "--engine", "vllm"), 2, "--engine vllm: own or ray"),
        (("-m", "{stories}", "--max-replicas", "2"), 2, "--max-replicas is Ray Serve's"),
        (("-m", "{stories}", "--keys", "nowhere.toml", "--port", "0"), 4, "nowhere.toml: no such file"),
        (("-m", "{stories}", "--name", "a:b", "--dry-run"), 2, "names are not empty and have no colon"),
        (("-m", "{stories}", "--name", "", "--dry-run"), 2, "--name '': names"),
        (("-m", "{stories}", "--name", "", "--replicas", "2", "--dry-run"), 2, "--name '': names"),
        (
            ("-m", "{stories}", "--tool-form", "lama", "--dry-run"),
            2,
            "no form of tool calls is called 'lama'",
        ),
        (
            ("-m", "{stories}", "--tool-form", "lama", "--port", "0"),
            2,
            "no form of tool calls is called 'lama'",
        ),
        (("--worker", "http://nowhere", "--tool", "calculator"), 2, "--adapter are for models of one's own"),
        (("--worker", "http://nowhere", "--adapter", "poet"), 2, "--adapter are for models of one's own"),
        (("--worker", "http://nowhere", "--replicas", "2"), 2, "of what model?"),
        (("--worker", "http://nowhere", "--engine", "ray"), 2, "of what model?"),
        (("--worker", "http://nowhere", "--tp", "2"), 2, "--tp 2 cuts a model of one's own"),
        (("-m", "{stories}", "--engine", "ray", "--tp", "2"), 2, "in replicas that this program starts"),
        (("-m", "{stories}", "--adapter", "a=nowhere", "--tp", "2"), 2, "--adapter does not go with --tp 2"),
        (("-m", "{stories}", "--tool", "nowhere.sh", "--port", "0"), 4, "no program nowhere.sh"),
        (("-m", "{stories}", "--max-calls", "2", "--port", "0"), 2, "--max-calls does nothing without"),
        (("-m", "{stories}", "--tool-timeout", "2", "--port", "0"), 2, "--tool-timeout does nothing"),
        (("-m", "{stories}", "--tool-output", "9", "--port", "0"), 2, "--tool-output does nothing"),
        (("-m", "{stories}", "--tool-schema", "a: b", "--port", "0"), 2, "--tool-schema does nothing"),
        (("-m", "{stories}", "--retrieve", "nowhere:2", "--port", "0"), 4, "nowhere: no such index"),
        (("-m", "{stories}", "--retrieve-by", "both"), 2, "--retrieve-... does nothing without an index"),
        (("-m", "{stories}", "--retrieve-key", "k"), 2, "--retrieve-... does nothing without an index"),
        (("-m", "{stories}", *ENGINE, "--retrieve-key", "nowhere.key"), 4, "nowhere.key: no such file"),
        (("-m", "{stories}", *ENGINE, "--retrieve-by", "meaning"), 6, "refused"),
        (("-m", "{stories}", *ENGINE, "--retrieve-embed-url", "http://a"), 2, "words need no model"),
        (("-m", "{stories}", "--retrieve", "{index}", *VECTORS), 4, "no.key: no such file"),
        (("-m", "{stories}", "--retrieve", "{index}", "--retrieve-by", "meaning"), 4, "has no vectors"),
    ],
)
def test_what_cannot_be_is_said_in_two_lines(
    args: tuple[str, ...],
    status: int,
    says: str,
    llmkit_run: Callable[..., Any],
    stories: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "zoo.txt").write_text("A bee makes honey.")
    index = tmp_path / "i"
    if "{index}" in args:
        assert llmkit_run("retrieve", "index", tmp_path / "zoo.txt", "-o", index).status == 0
    if VECTORS[-1] in args:  # as one would be whose vectors came from a server
        with sqlite3.connect(index) as database:
            told = {"model": "m", "sha256": "", "width": 2, "url": "http://a", "probe": [1, 0]}
            database.execute("INSERT INTO meta VALUES ('embedding', ?)", (json.dumps(told),))
        database.close()
    done = llmkit_run("serve", *(one.format(stories=stories, index=index) for one in args))
    assert done.status == status and says in done.err
    assert len(done.err.splitlines()) == 2 and done.out == b""


@contextmanager
def started(python: str | Path, *flags: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server that is ready, and its address."""
    read, write = os.pipe()
    words = ["serve", *flags, "--port", "0", "--ready-fd", str(write)]
    process = subprocess.Popen(
        [python, "-m", "llmkit", *words],
        pass_fds=[write],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )
    os.close(write)
    with os.fdopen(read) as ready:
        told = json.loads(ready.readline())
    try:
        yield process, told["url"]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize(("told", "where"), [("auto", "reasoning_content"), ("none", "content")])
def test_what_is_thought_is_told_apart_or_left_in_the_text_as_the_flag_says(
    told: str, where: str, stories: Path, tmp_path: Path, forked_python: Path
) -> None:
    folder = tmp_path / "thinking"
    shutil.copytree(stories, folder)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }} <think>")
    chat = {"messages": [{"role": "user", "content": "Once"}], "max_tokens": 8, "temperature": 0}
    with started(forked_python, "-m", str(folder), "--reasoning-format", told) as (_, url):
        answer = httpx.post(f"{url}/v1/chat/completions", json=chat, timeout=60).json()
    message = answer["choices"][0]["message"]
    assert [name for name in ("content", "reasoning_content") if message.get(name)] == [where]
    thought = answer["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert thought == (8 if told == "auto" else 0)


def test_a_template_that_never_ends_keeps_no_server_from_its_start(
    stories: Path, tmp_path: Path, forked_python: Path
) -> None:
    folder = tmp_path / "looping"
    shutil.copytree(stories, folder)
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (folder / "chat_template.jinja").write_text(loops)
    flags = ("-m", str(folder), "--prompt-seconds", "1", "--prompt-workers", "1")
    with started(forked_python, *flags) as (process, url):
        chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        refused = httpx.post(f"{url}/v1/chat/completions", json=chat, timeout=60)
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "too_costly"
        long = httpx.post(f"{url}/v1/completions", json={"prompt": "x" * 9000})
        assert long.status_code == 400 and "at most 8,192 are read" in long.json()["error"]["message"]
        told = httpx.post(f"{url}/v1/embeddings", json={"input": ["Once upon a time", "One day"]}).json()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "chat template: takes more than 1 seconds to prepare, so that chats may be refused" in err
    embedder = Embedder(load_model(stories), PromptEncoder(load_tokenizer(stories)))
    expected = embedder.embed(["Once upon a time", "One day"])
    np.testing.assert_allclose([one["embedding"] for one in told["data"]], expected, atol=1e-4)


@pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
def test_a_server_needs_no_torch(stories: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text('raise ImportError("nobody needs this")')
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with started(sys.executable, "-m", str(stories), PYTHONPATH=paths) as (_, url):
        asked = {"prompt": "Once upon a", "max_tokens": 3, "logprobs": 1, "seed": 1}
        answer = httpx.post(f"{url}/v1/completions", json=asked, timeout=60).json()
        assert answer["usage"]["completion_tokens"] == 3
        vectors = httpx.post(f"{url}/v1/embeddings", json={"input": "a sea"}, timeout=60).json()
        assert len(vectors["data"][0]["embedding"]) == 64


HERMES = (
    "{% for tool in tools or [] %}{{ tool.function.name }} {{ tool.function.description }}\n{% endfor %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>"
    "{% endfor %}\n{% endfor %}"
)


def test_a_server_runs_the_tools_and_searches_the_index_that_its_operator_named(
    stories: Path, tmp_path: Path, llmkit_run: Callable[..., Any], forked_python: Path
) -> None:
    pytest.importorskip("llguidance")
    folder, log = tmp_path / "calling", tmp_path / "log.jsonl"
    shutil.copytree(stories, folder)
    (folder / "chat_template.jinja").write_text(HERMES)
    (tmp_path / "zoo.txt").write_text("A bee makes honey.")
    assert llmkit_run("retrieve", "index", tmp_path / "zoo.txt", "-o", tmp_path / "i").status == 0
    schema = {"properties": {"to": {"enum": ["sea"]}}, "required": ["to"], "additionalProperties": False}
    (tmp_path / "go.json").write_text(json.dumps(schema))
    aids = ["--tool", "go: cat -", "--tool-schema", f"go: {tmp_path / 'go.json'}", "--tool-output", "99"]
    aids += ["--tool-timeout", "5s", "--max-calls", "1", "--retrieve", f"{tmp_path / 'i'}:1"]
    plan = json.loads(llmkit_run("serve", "-m", folder, *aids, "--dry-run", "--json").out)
    assert (plan["tools"], plan["retrieve"]) == (["go: cat -"], f"{tmp_path / 'i'}:1")
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "honey?"}], "max_tokens": 120}
    chat |= {"tool_choice": "required", "parallel_tool_calls": False, "temperature": 0}
    with started(forked_python, "-m", str(folder), *aids, "--log", str(log)) as (process, url):
        answer = httpx.post(f"{url}/v1/chat/completions", json=chat, timeout=60).json()
        message = answer["choices"][0]["message"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert [(one["name"], one["output"]) for one in message["executed_tools"]] == [("go", '{"to": "sea"}')]
    assert [(one["mark"], one["end"]) for one in message["citations"]] == [(1, len("A bee makes honey."))]
    assert json.loads(log.read_text())["tool_calls"] == 1


def test_a_web_page_of_others_has_nothing_written_by_a_server_on_this_machine(
    stories: Path, forked_python: Path
) -> None:
    body = json.dumps({"prompt": "Once", "max_tokens": 1})
    evil = {"origin": "http://evil.example", "content-type": "text/plain"}
    form = {"content-type": "application/x-www-form-urlencoded"}  # as curl -d says where nothing is said
    with started(forked_python, "-m", str(stories)) as (_, url):
        for head in (evil, evil | {"host": "evil.example"}, {"host": "evil.example:8000"}):
            assert httpx.post(f"{url}/v1/completions", content=body, headers=head).status_code == 403
        for head in (form, {"origin": url}, {"host": "localhost"}):
            assert httpx.post(f"{url}/v1/completions", content=body, headers=head).status_code == 200


def test_a_server_writes_what_generate_writes_and_drains_at_sigterm(
    llmkit_run: Callable[..., Any], stories: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    options = {"max_tokens": 24, "seed": 11, "temperature": 0.9, "top_k": 40}
    words = ["--max-tokens", "24", "--seed", "11", "--temperature", "0.9", "--top-k", "40"]
    done = llmkit_run("generate", "-m", stories, "Once upon", *words)
    with started(sys.executable, "-m", str(stories), "--log", str(log)) as (process, url):
        answer = httpx.post(f"{url}/v1/completions", json={"prompt": "Once upon", **options}).json()
        assert answer["choices"][0]["text"] == done.text.removesuffix("\n")
        body = {"prompt": "Once", "max_tokens": 300, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body) as stream:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert process.wait(20) == 0
    assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == [200, 200]
