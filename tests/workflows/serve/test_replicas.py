"""A router and its workers as processes: killed, stopped, crashed, replaced and ended under load.

The eight of serving.md (d); of them (4) and (7) are in tests/server/router/test_supervisor.py.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from llmkit.engine.config import GenerateConfig
from llmkit.errors import ResourceError
from llmkit.model.config import ModelConfig
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.server.config import ServeConfig
from llmkit.server.router.config import ModelSource, RouterConfig
from llmkit.server.router.manage import Source
from llmkit.workflows.serve.replicas import Replicas, launch_of, serve_replicas
from llmkit.workflows.serve.worker import read_settings

SHORT: dict[str, Any] = {"prompt": "the quick", "max_tokens": 30, "ignore_eos": True}
LONG: dict[str, Any] = {"prompt": "the slow", "max_tokens": 4000, "ignore_eos": True}
PATIENCE_SECONDS = 60.0


def write_model(folder: Path, tokenizer: Path, seed: int) -> Path:
    """A random model with a long context, tiny but for that."""
    shutil.copytree(tokenizer, folder)
    fields = {"vocab_size": 600, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096}
    model = Transformer(ModelConfig(**fields, **heads)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    save_model(model, folder)
    return folder


@dataclass
class Server:
    """A server of this module."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    admin: httpx.Client
    second: Path
    """A second model."""
    answers: list[httpx.Response] = field(default_factory=list)

    def workers(self) -> list[dict[str, Any]]:
        models = self.admin.get("/admin/models").json()["models"]
        return [worker for version in models[0]["versions"] for worker in version["workers"]]

    def busy(self) -> dict[str, Any]:
        """The worker that has the one request that runs."""
        return self.until(lambda: next((one for one in self.workers() if one["running"]), None))  # type: ignore[no-any-return]

    def until(self, found: Callable[[], Any]) -> Any:
        end = time.monotonic() + PATIENCE_SECONDS
        while not (result := found()):
            assert time.monotonic() < end, self.workers()
            time.sleep(0.02)
        return result

    def load(self, count: int, meanwhile: Callable[[], object]) -> list[httpx.Response]:
        """Ask so often, six at a time; a few answers in, something happens."""
        done: list[httpx.Response] = []

        def ask(number: int) -> None:
            done.append(self.client.post("/v1/completions", json={**SHORT, "prompt": f"{number} the"}))

        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask, number) for number in range(count)]
            self.until(lambda: len(done) >= 4)
            meanwhile()
            for one in asked:
                one.result()
        return done


@contextmanager
def serving(line: Sequence[object], folder: Path, second: Path) -> Iterator[Server]:
    """A server of `llmkit serve`, from when it is ready to the end of it.

    Args:
        line: its flags, but for its listeners.
        folder: where its admins' socket is.
        second: a second model.
    """
    read, write = os.pipe()
    socket = folder / "admin"
    own = ["--port", 0, "--ready-fd", write, "--admin-socket", socket, "--drain-seconds", 60, "-q"]
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", "serve", *map(str, [*line, *own])], pass_fds=(write,)
    )
    os.close(write)
    with os.fdopen(read) as stream:
        told = json.loads(stream.readline())
    transport = httpx.HTTPTransport(uds=str(socket))
    with (
        httpx.Client(base_url=told["url"], timeout=PATIENCE_SECONDS) as client,
        httpx.Client(base_url="http://admin", transport=transport, timeout=PATIENCE_SECONDS) as admin,
    ):
        yield Server(process, client, admin, second)
    if process.poll() is None:
        process.kill()
        process.wait()


@contextmanager
def serving_two(folder: Path, byte_level_dir: Path) -> Iterator[Server]:
    """A server of two workers, and a model that can come in place of its own."""
    first, second = (write_model(folder / f"m{seed}", byte_level_dir, seed) for seed in (1, 2))
    line = ["-m", f"prod={first}@v1", "--replicas", 2, "--prompt-workers", 1]
    with serving(line, folder, second) as server:
        yield server


@pytest.fixture(scope="module")
def started(byte_level_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_two(tmp_path_factory.mktemp("replicas"), byte_level_dir) as server:
        yield server


@pytest.fixture
def server(started: Server) -> Server:
    """All workers up."""
    started.until(lambda: all(one["state"] == "up" for one in started.workers()))
    return started


def test_1_a_worker_killed_under_load_costs_no_request(server: Server) -> None:
    before = {one["id"]: one["restarts"] for one in server.workers()}
    struck = server.workers()[0]
    victim = struck["pid"]
    answers = server.load(24, lambda: os.kill(victim, signal.SIGKILL))
    assert [one.status_code for one in answers] == [200] * 24
    server.until(lambda: all(one["state"] == "up" for one in server.workers()))
    after = {one["id"]: one["restarts"] for one in server.workers()}
    assert after == {**before, struck["id"]: before[struck["id"]] + 1}
    assert victim not in [one["pid"] for one in server.workers()]


def test_a_conversation_goes_on_when_the_worker_that_wrote_its_last_turn_is_killed(server: Server) -> None:
    def ask(text: str, **more: object) -> dict[str, Any]:
        body = {"input": text, "max_output_tokens": 4, **more}
        return server.client.post("/v1/responses", json=body).json()  # type: ignore[no-any-return]

    first = ask("a")
    for one in server.workers():
        os.kill(one["pid"], signal.SIGKILL)
        server.until(lambda: all(one["state"] == "up" for one in server.workers()))
        second = ask("c", previous_response_id=first["id"])
        assert second["previous_response_id"] == first["id"]
    listed = server.client.get(f"/v1/responses/{second['id']}/input_items", params={"order": "asc"}).json()
    assert [one["content"][0]["text"] for one in listed["data"]] == [
        *("a", first["output"][0]["content"][0]["text"], "c")
    ]


def test_a_web_page_of_others_has_nothing_written_by_a_router_on_this_machine(server: Server) -> None:
    for head in ({"origin": "http://evil.example"}, {"host": "evil.example"}):
        assert server.client.post("/v1/completions", json=SHORT, headers=head).status_code == 403
    own = {"origin": str(server.client.base_url).rstrip("/")}
    assert server.client.post("/v1/completions", json=SHORT, headers=own).status_code == 200


def test_2_a_stream_whose_worker_is_killed_raises_in_the_sdk(server: Server) -> None:
    openai = pytest.importorskip("openai")
    sdk = openai.OpenAI(base_url=f"{server.client.base_url}/v1", api_key="none", max_retries=0)
    more = {"extra_body": {"ignore_eos": True}}
    stream = sdk.completions.create(model="prod", prompt="the", max_tokens=4000, stream=True, **more)
    seen = [next(stream)]
    os.kill(server.busy()["pid"], signal.SIGKILL)
    with pytest.raises(openai.APIError) as caught:
        seen.extend(stream)
    assert caught.value.code == "worker_lost" and len(seen) < 4000


def test_3_a_worker_that_is_stopped_is_taken_out_and_its_request_answered(server: Server) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.client.post, "/v1/completions", json={**LONG, "max_tokens": 1500})
        victim = server.busy()
        os.kill(victim["pid"], signal.SIGSTOP)
        assert asked.result().status_code == 200
    state = {one["id"]: one["state"] for one in server.workers()}[victim["id"]]
    os.kill(victim["pid"], signal.SIGCONT)
    assert state == "down"


def test_8_a_request_under_which_a_worker_crashes_twice_is_failed_and_the_other_lives(server: Server) -> None:
    before = {one["id"]: one["pid"] for one in server.workers()}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.client.post, "/v1/completions", json=LONG)
        for _ in range(2):  # what a fault in the native library does
            victim = server.busy()
            os.kill(victim["pid"], signal.SIGSEGV)
            server.until(lambda gone=victim: gone["pid"] not in [one["pid"] for one in server.workers()])
        answer = asked.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "poison_request")
    after = {one["id"]: one["pid"] for one in server.workers()}
    (same,) = [name for name in before if before[name] == after[name]]
    assert same != victim["id"] and server.client.get("/ready").status_code == 200


def test_5_a_version_put_in_the_place_of_another_under_load_costs_no_request(server: Server) -> None:
    told: dict[str, Any] = {"path": str(server.second), "version": "v2"}
    stop = threading.Event()
    answers: list[httpx.Response] = []

    def ask() -> None:
        while not stop.is_set():
            answers.append(server.client.post("/v1/completions", json=SHORT))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for one in threads:
        one.start()
    done = server.admin.post("/admin/models/prod/reload", json=told)
    ends = time.monotonic() + 0.5
    server.until(lambda: time.monotonic() > ends)
    stop.set()
    for one in threads:
        one.join()
    assert done.status_code == 200, done.text
    assert {one.status_code for one in answers} == {200}
    names = [one.json()["system_fingerprint"].rpartition("-")[2] for one in answers]
    assert set(names) == {"v1", "v2"} and (names[0], names[-1]) == ("v1", "v2")


def write_adapter(folder: Path) -> Path:
    """Rank 2 on the queries of `write_model`'s first layer."""
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    place = "base_model.model.model.layers.0.self_attn.q_proj"
    random = np.random.default_rng(0)
    shapes = {"A": (2, 16), "B": (16, 2)}
    tensors = {f"{place}.lora_{k}.weight": random.normal(size=v).astype("f4") for k, v in shapes.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_loaded_under_load_is_with_all_workers_and_those_that_come_later(
    server: Server, tmp_path: Path
) -> None:
    told: dict[str, Any] = {"lora_name": "poet", "lora_path": str(write_adapter(tmp_path / "poet"))}
    loaded: list[httpx.Response] = []
    greedy = {**SHORT, "temperature": 0}

    def ask(model: str) -> httpx.Response:
        return server.client.post("/v1/completions", json={**greedy, "model": model})

    answers = server.load(24, lambda: loaded.append(server.admin.post("/v1/load_lora_adapter", json=told)))
    assert {one.status_code for one in answers} == {200} and loaded[0].json()["workers"] == 2
    assert loaded[0].json()["bytes"] == 4 * 2 * (16 + 16)
    texts = {ask("prod:poet").json()["choices"][0]["text"] for _ in range(4)}
    assert len(texts) == 1 and texts != {ask("prod").json()["choices"][0]["text"]}
    killed = {worker["pid"] for worker in server.workers()}
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    server.until(lambda: all(one["state"] == "up" and one["pid"] not in killed for one in server.workers()))
    assert {ask("prod:poet").json()["choices"][0]["text"] for _ in range(4)} == texts
    assert "prod:poet" in [one["id"] for one in server.client.get("/v1/models").json()["data"]]
    with server.client.stream(
        "POST", "/v1/completions", json={**LONG, "max_tokens": 300, "model": "prod:poet", "stream": True}
    ) as stream:
        lines = stream.iter_lines()
        next(lines)
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(server.admin.post, "/v1/unload_lora_adapter", json={"lora_name": "poet"})
            server.until(lambda: ask("prod:poet").status_code == 404)
            assert [line for line in lines if line][-1] == "data: [DONE]"
            assert done.result().json() == {
                "object": "adapter",
                "id": "prod:poet",
                "freed": True,
                "workers": 2,
            }


def test_a_hangup_ends_neither_the_router_nor_its_workers(server: Server) -> None:
    pids = [one["pid"] for one in server.workers()]
    for pid in (server.process.pid, *pids):
        os.kill(pid, signal.SIGHUP)
    assert all(server.client.post("/v1/completions", json=SHORT).status_code == 200 for _ in range(4))
    assert [one["pid"] for one in server.workers()] == pids and server.process.poll() is None


def test_6_after_sigterm_streams_end_well_new_requests_get_503_and_nobody_is_left(
    byte_level_dir: Path, tmp_path: Path
) -> None:
    with serving_two(tmp_path, byte_level_dir) as server:  # its own: a stealing worker runs others after
        pids = [one["pid"] for one in server.workers()]
        told = {**LONG, "max_tokens": 400, "stream": True}
        with server.client.stream("POST", "/v1/completions", json=told) as stream:
            lines = stream.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            refused = server.until(lambda: _refused(server.client))
            assert refused.json()["error"]["code"] == "draining" and refused.headers["retry-after"]
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.process.wait(PATIENCE_SECONDS) == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_admins_socket_asks_its_owner_for_no_key_and_the_port_asks_its_clients(
    byte_level_dir: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "m", byte_level_dir, 1)
    keys = tmp_path / "keys"
    keys.write_text("a-key-alone\n")  # which is no admin's
    with serving(["-m", f"prod={model}", "--api-key-file", keys], tmp_path, model) as server:
        assert server.admin.get("/admin/models").status_code == 200
        assert server.client.get("/v1/models").status_code == 401


def _refused(client: httpx.Client) -> httpx.Response | None:
    answer = client.post("/v1/completions", json={**SHORT, "max_tokens": 1})
    return answer if answer.status_code == 503 else None


def test_a_worker_has_no_keys_no_log_and_its_share_of_the_cores(tmp_path: Path) -> None:
    serve = ServeConfig(keys=tmp_path / "keys", log=tmp_path / "log", log_prompts=True, usage=tmp_path / "db")
    sources = (ModelSource("a", "m"), ModelSource("b", "n", "v1"))
    job = Replicas(sources, None, GenerateConfig(), serve, RouterConfig(replicas=64))
    source = Source(model="b", path="n", version="v1", weight=1.0, replicas=64)
    settings = read_settings(launch_of(job, source, tmp_path / "socket").settings)
    told = settings.serve
    assert (told.keys, told.log, told.log_prompts, told.usage) == (None, None, False, None)
    assert (told.behind_router, told.version, told.unix_socket) == (True, "v1", tmp_path / "socket")
    assert (settings.engine.threads, settings.name, settings.model) == (1, "b", Path("n"))


def test_a_folder_for_temporary_files_that_is_too_long_for_sockets_is_told_before_a_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    job = Replicas(
        (ModelSource("a", str(tmp_path)),),
        None,
        GenerateConfig(),
        ServeConfig(port=0),
        RouterConfig(replicas=2),
    )
    with pytest.raises(ResourceError, match=r"\.sock: ") as caught:
        serve_replicas(job, note=print)
    assert "TMPDIR" in caught.value.hint and not list(folder.iterdir())
