"""Walls: between keys behind a router, before the head of a request, around the admin's listener, before a
model file that lies about itself."""

import asyncio
import contextlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from llmkit.errors import LlmkitError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.model.load import load_model
from llmkit.server.admin import AdminState, build_admin
from llmkit.server.handoff import WorkerGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.listener import open_port
from llmkit.server.router.fleet import Version
from llmkit.server.router.worker import Card, Worker
from llmkit.server.run import HEADER_BYTES, http_server
from llmkit.server.wire.rerank import RERANK
from tests.server.conftest import Serving
from tests.server.router.fakes import Routing, routed
from tests.server.router.test_manage import managed

WORDS = "the quick brown fox jumps over the lazy dog " * 4
ASKED: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": WORDS, "max_tokens": 1},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": WORDS}], "max_tokens": 1},
    "/v1/responses": {"input": WORDS, "max_output_tokens": 1},
    "/v1/messages": {"messages": [{"role": "user", "content": WORDS}], "max_tokens": 1},
    "/completion": {"prompt": WORDS, "n_predict": 1},
    "/infill": {"input_prefix": WORDS, "input_suffix": WORDS, "n_predict": 1},
}


def cached_tokens(answer: httpx.Response) -> int:
    """Of an answer's prompt, as its endpoint tells them."""
    if "tokens_cached" in answer.json():
        return int(answer.json()["tokens_cached"])
    usage = answer.json()["usage"]
    if "cache_read_input_tokens" in usage:
        return int(usage["cache_read_input_tokens"])
    details = usage.get("prompt_tokens_details") or usage["input_tokens_details"]
    return int(details["cached_tokens"])


@pytest.mark.parametrize("path", ASKED)
def test_behind_a_router_too_a_second_key_finds_nothing_of_the_first_ones_prompt(
    path: str, serving: Serving
) -> None:
    keys = Keys({name: KeyRules(sha256=digest_of(name)) for name in ("alice", "bob")})

    async def go() -> list[int]:
        async with serving(gate=WorkerGate()) as client:
            client.app.state.serve.behind_router = True  # type: ignore[attr-defined]
            worker = Worker("w", client, is_own=True)
            worker.up((Card("tiny", 256, "fp_test"),))
            router = Routing(Version("", 100.0, [worker]), keys=keys)
            found = []
            for key in ("alice", "alice", "bob", "bob"):
                head = {"authorization": f"Bearer {key}"}
                answer = await router.client.post(path, json={"model": "tiny", **ASKED[path]}, headers=head)
                assert answer.status_code == 200, answer.text
                found.append(cached_tokens(answer))
            return found

    alice, again, bob, bob_again = asyncio.run(go())
    assert alice == bob == 0 and again == bob_again > 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": [WORDS, "a"]}),
        *((path, {"query": "a", "documents": [WORDS, "a"]}) for path in RERANK),
    ],
)
def test_behind_a_router_a_key_pays_what_the_worker_has_read_where_nothing_is_written(
    path: str, body: dict[str, Any], serving: Serving
) -> None:
    async def go() -> tuple[int, dict[str, Any]]:
        async with serving(gate=WorkerGate()) as client:
            client.app.state.serve.behind_router = True  # type: ignore[attr-defined]
            worker = Worker("w", client, is_own=True)
            worker.up((Card("tiny", 256, "fp_test"),))
            router = Routing(Version("", 100.0, [worker]))
            answer = await router.client.post(path, json=body)
            return answer.json()["usage"]["total_tokens"], router.log[0]

    total, record = asyncio.run(go())
    assert record["status"] == 200 and record["model"] == "tiny" and record["finish_reason"] == "stop"
    assert (record["prompt_tokens"], record["completion_tokens"]) == (total, 0)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nhost: a\r\nx-long: " + b"a" * (HEADER_BYTES + 1024),
        b"GET /" + b"a" * (HEADER_BYTES + 1024) + b" HTTP/1.1\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * (HEADER_BYTES // 6 + 200),
    ],
    ids=["one long", "a long path", "many"],
)
def test_a_head_that_does_not_end_is_cut_off_and_the_next_client_is_answered(
    head: bytes, serving: Serving
) -> None:
    async def go() -> tuple[bytes, int]:
        async with serving() as client:
            server = http_server(client.app)  # type: ignore[attr-defined]
            with open_port("127.0.0.1", 0) as listener:
                port = listener.getsockname()[1]
                running = asyncio.create_task(server.serve([listener]))
                while not server.started:
                    await asyncio.sleep(0.005)
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head)
                found = b""
                with contextlib.suppress(ConnectionError):
                    async with asyncio.timeout(5):  # before its ten seconds of patience with slow heads
                        found = await reader.read()
                writer.close()
                async with httpx.AsyncClient() as other:
                    status = (await other.get(f"http://127.0.0.1:{port}/health")).status_code
                server.should_exit = True
                await running
                return found, status

    found, status = asyncio.run(go())
    assert found[:12] in (b"HTTP/1.1 400", b"") and status == 200


def test_every_route_of_the_admins_listener_needs_an_admins_key_and_no_client_is_served_there() -> None:
    rules = {"root": KeyRules(sha256=digest_of("root"), admin=True), "bob": KeyRules(sha256=digest_of("bob"))}

    async def go() -> tuple[dict[str, list[int]], list[int], list[int]]:
        async with managed() as (manager, router, _):
            app = build_admin(AdminState(router.state, manager, routed(keys=Keys(rules)).gate))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            found: dict[str, list[int]] = {}
            async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
                for one in app.routes:
                    assert isinstance(one, Route)
                    method = next(iter((one.methods or set()) - {"HEAD"}))
                    place = one.path.replace("{name}", "tiny")
                    heads = [{}, {"x-api-key": "nobody"}, {"x-api-key": "bob"}]
                    told = [await client.request(method, place, headers=head) for head in heads]
                    found[f"{method} {place}"] = [answer.status_code for answer in told]
                root = {"x-api-key": "root"}
                clients = [await client.post(path, json=ASKED[path], headers=root) for path in ASKED]
            data = [
                await router.client.request(method, path)
                for method, path in (
                    ("GET", "/admin/models"),
                    ("POST", "/admin/drain"),
                    ("GET", "/admin/usage"),
                )
            ]
            return found, [one.status_code for one in clients], [one.status_code for one in data]

    routes, clients, data = asyncio.run(go())
    assert len(routes) >= 7 and all(statuses == [401, 401, 403] for statuses in routes.values()), routes
    assert set(clients) == {404} and set(data) == {404}


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> bytes:
    """A model of 260,000 parameters as one file."""
    from llmkit.cli import run

    path = tmp_path_factory.mktemp("gguf") / "s.gguf"
    words = ["convert", "--no-tokenizer", str(shared_data / "models" / "stories260K"), str(path)]
    assert run(words) == 0
    return path.read_bytes()


SIZES = [
    *("block_count", "embedding_length", "feed_forward_length", "attention.head_count"),
    *("attention.head_count_kv", "attention.key_length", "attention.value_length"),
]


@pytest.mark.parametrize("size", [0, 1 << 20, (1 << 31) - 1, (1 << 32) - 1])
@pytest.mark.parametrize("name", SIZES)
def test_a_gguf_file_whose_keys_are_not_its_tensors_is_refused_before_memory_is_taken(
    name: str, size: int, gguf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def taken(function: Callable[..., Any]) -> Callable[..., Any]:
        def make(*shape: Any, **settings: Any) -> Any:
            made = function(*shape, **settings)
            assert made.is_meta or made.nbytes < 1 << 26, f"{made.nbytes:,} bytes"
            return made

        return make

    monkeypatch.setattr(torch, "empty", taken(torch.empty))
    spelled = f"llama.{name}".encode()
    place = gguf.index(struct.pack("<Q", len(spelled)) + spelled) + 8 + len(spelled)
    assert struct.unpack_from("<I", gguf, place) == (4,)  # u32
    path = tmp_path / "lying.gguf"
    path.write_bytes(gguf[: place + 4] + struct.pack("<I", size) + gguf[place + 8 :])
    with pytest.raises(LlmkitError, match="lying"):
        load_model(path)


def test_a_gguf_file_whose_tensor_is_larger_than_the_file_is_refused(gguf: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.gguf").write_bytes(gguf)
    tensor = read_gguf_header(tmp_path / "s.gguf").tensors[0]
    name = tensor.name.encode()
    place = gguf.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4
    assert struct.unpack_from(f"<{len(tensor.dims)}Q", gguf, place) == tensor.dims
    for dims in ((1 << 62, 1 << 62), (1 << 32, 1 << 32), (tensor.dims[0], 1 << 40), (0, 0)):
        path = tmp_path / "lying.gguf"
        path.write_bytes(gguf[:place] + struct.pack("<2Q", *dims) + gguf[place + 16 :])
        with pytest.raises(LlmkitError, match="lying"):
            load_model(path)
