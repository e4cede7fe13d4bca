"""A server whose models lie in parts, two processes each: its answers, and what it survives."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.model.load import load_model
from llmkit.tokens.load import load_tokenizer
from tests.workflows.serve.test_replicas import LONG, PATIENCE_SECONDS, Server, serving, write_model


def children(pid: int) -> dict[int, str]:
    """Processes that a process has started, and their command lines."""
    lines = subprocess.run(
        ["ps", "-ww", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = [line.split(maxsplit=2) for line in lines]
    return {int(row[0]): row[2] for row in rows if int(row[1]) == pid}


def rank_of(pid: int) -> int:
    """The process that has the other part of a worker's model."""
    (found,) = [one for one, line in children(pid).items() if "llmkit.workflows.generate.rank" in line]
    return found


@contextmanager
def serving_parts(folder: Path, byte_level_dir: Path, workers: int) -> Iterator[Server]:
    """A server of so many workers, each of two processes."""
    model = write_model(folder / "model", byte_level_dir, 1)
    line = ["-m", f"prod={model}", "--tp", 2, "--replicas", workers, "--prompt-workers", 1]
    with serving(line, folder, model) as server:
        yield server


@pytest.fixture(scope="module")
def started(byte_level_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_parts(tmp_path_factory.mktemp("parts"), byte_level_dir, 2) as server:
        yield server


@pytest.fixture
def server(started: Server) -> Server:
    """All workers up."""
    started.until(lambda: all(one["state"] == "up" for one in started.workers()))
    return started


def test_greedy_texts_are_those_of_the_whole_model_alone_and_in_a_crowd(server: Server) -> None:
    folder = server.second
    tokenizer, engine = load_tokenizer(folder), Engine(load_model(folder))
    prompts = ["the quick brown fox", "the", "jumps over the lazy dog and the quick brown fox"]
    sampling = SamplingConfig(max_tokens=24, temperature=0.0, ignore_eos=True)

    def expected(prompt: str) -> str:
        return tokenizer.decode(
            [drawn.id for drawn in engine.run(Request(tuple(tokenizer.encode(prompt)), sampling))]
        )

    def ask(prompt: str) -> str:
        told = {"prompt": prompt, "max_tokens": 24, "temperature": 0, "ignore_eos": True}
        answer = server.client.post("/v1/completions", json=told)
        text: str = answer.json()["choices"][0]["text"]
        return text

    wanted = [expected(prompt) for prompt in prompts]
    assert [ask(prompt) for prompt in prompts] == wanted
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, prompts * 2)) == wanted * 2


def test_texts_have_vectors_and_adapters_are_refused(server: Server, tmp_path: Path) -> None:
    answer = server.client.post("/v1/embeddings", json={"input": ["the quick", "the fox"]})
    assert answer.status_code == 200 and len(answer.json()["data"]) == 2
    told = {"lora_name": "poet", "lora_path": str(tmp_path)}
    refused = server.admin.post("/v1/load_lora_adapter", json=told)
    assert 400 <= refused.status_code < 500


def test_a_killed_process_costs_its_worker_and_no_request(server: Server) -> None:
    before = {one["id"]: one["restarts"] for one in server.workers()}
    struck = server.workers()[0]
    rank = rank_of(struck["pid"])
    answers = server.load(24, lambda: os.kill(rank, signal.SIGKILL))
    assert [one.status_code for one in answers] == [200] * 24
    server.until(lambda: all(one["state"] == "up" for one in server.workers()))
    after = {one["id"]: one["restarts"] for one in server.workers()}
    assert after == {**before, struck["id"]: before[struck["id"]] + 1}
    assert rank_of(server.workers()[0]["pid"]) != rank


def test_a_killed_worker_leaves_no_process_behind(server: Server) -> None:
    victim = server.workers()[1]["pid"]
    rank = rank_of(victim)
    os.kill(victim, signal.SIGKILL)
    server.until(lambda: not is_alive(rank))
    server.until(lambda: all(one["state"] == "up" and one["pid"] != victim for one in server.workers()))


def test_after_sigterm_a_stream_ends_well_and_nobody_is_left(byte_level_dir: Path, tmp_path: Path) -> None:
    with serving_parts(tmp_path, byte_level_dir, 1) as server:  # its own: others may run after this
        pids = [one["pid"] for one in server.workers()]
        pids += [rank_of(pid) for pid in pids]
        told = {**LONG, "max_tokens": 200, "stream": True}
        with server.client.stream("POST", "/v1/completions", json=told) as stream:
            lines = stream.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.process.wait(PATIENCE_SECONDS) == 0
    assert [pid for pid in pids if is_alive(pid)] == []


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is not only waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")
