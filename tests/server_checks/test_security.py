"""What has gone wrong in other servers does not go wrong here: a test for each row of the advisory table."""

import ast
import asyncio
import functools
import hmac
import json
import socket
import struct
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from llmkit.engine.engine import EngineConfig
from llmkit.server import keys as keys_module
from llmkit.server.admission import Admission
from llmkit.server.app import build_app
from llmkit.server.config import AdmissionConfig
from llmkit.server.front import OPEN
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.prompt_worker import Worker
from llmkit.server.prompts import PromptPool
from llmkit.server.usage import UsageStore
from llmkit.server.wire.rerank import RERANK
from tests.server.conftest import Serving
from tests.server_checks.conftest import IDS, Shared

PACKAGE = Path(__file__).resolve().parents[2] / "llmkit"
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
WITH_BODY = {
    COMPLETIONS: {"prompt": IDS, "max_tokens": 1},
    CHAT: {"messages": HELLO, "max_tokens": 1},
    "/v1/responses": {"input": "hello", "max_output_tokens": 1},
    "/v1/responses/input_tokens": {"input": "hello"},
    "/v1/embeddings": {"input": "hello"},
    **{key: {"query": "hello", "documents": ["hello"]} for key in RERANK},
    "/completion": {"prompt": "a", "n_predict": 1},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 1},
    "/v1/messages": {"messages": HELLO, "max_tokens": 1},
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/tokenize": {"prompt": "hello"},
    "/detokenize": {"tokens": IDS},
    "/apply-template": {"messages": HELLO},
}
"""Every endpoint that reads one, with a body that it follows."""


ROW = b'{"id": "a", "tokens": [1, 2, 3]}\n'


@functools.cache
def _trees() -> dict[Path, ast.Module]:
    """The sources; not read where these tests are only collected."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def refused(answer: httpx.Response, param: str | None = None) -> bool:
    """Whether it is a 400, about a parameter where one is given, in the words of its endpoint."""
    error = answer.json()["error"]
    named = param is None or error.get("param", param) == param
    return answer.status_code == 400 and named and bool(error["message"])


def works(shared: Shared) -> bool:
    """Whether the next request is answered."""
    return shared.post(COMPLETIONS, {"prompt": IDS, "max_tokens": 1}).status_code == 200


def gate_of(*names: str) -> KeyedGate:
    """A gate of keys that are called like their owners."""
    known = Keys({name: KeyRules(sha256=digest_of(name)) for name in names})
    admission = Admission(AdmissionConfig(), lambda: 0.0)
    return KeyedGate(known, admission, UsageStore(None))


def test_nothing_in_the_package_unpickles_or_runs_text() -> None:
    modules = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "multiprocessing"}
    names = {"eval", "exec", "compile", "__import__"}
    attributes = {"recv_pyobj", "send_pyobj", "loads_pickle"}
    starts_processes = PACKAGE / "workflows" / "worker_pool.py"
    """spawn hands a child of our own what we made ourselves; tasks and answers are bytes (`send_bytes`)."""
    wrong = []
    for path, tree in _trees().items():
        for node in ast.walk(tree):
            found = None
            if path == starts_processes and isinstance(node, ast.Attribute):
                found = {node.attr} & {"send", "recv"}  # would pickle
            elif isinstance(node, ast.Import):
                found = {alias.name.split(".")[0] for alias in node.names} & modules
            elif isinstance(node, ast.ImportFrom):
                found = {str(node.module).split(".")[0]} & modules
                if path == starts_processes:
                    found -= {"multiprocessing"}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found = {node.func.id} & names
            elif isinstance(node, ast.Attribute):
                found = {node.attr} & attributes
            if found:
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {found}")
    assert wrong == []


def test_no_module_is_imported_by_a_name_that_comes_from_outside() -> None:
    """`importlib.import_module` takes literals and names of our own tables only in commands and back-ends."""
    wrong = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path, tree in _trees().items()
        if path.is_relative_to(PACKAGE / "server")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id)
        in ("import_module", "spec_from_file_location", "run_path", "run_module")
    ]
    assert wrong == []


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("field", ["prompt_embeds", "chat_template", "documents", "n_discard", "cache_seed"])
def test_tensors_templates_and_unknown_fields_are_refused_by_name(
    path: str, field: str, shared: Shared
) -> None:
    assert refused(shared.post(path, {**WITH_BODY[path], field: "x"}), field)


def test_code_in_a_model_folder_is_never_run(tiny_model: Any, llmkit_run: Any, tmp_path: Path) -> None:
    folder, marker = tiny_model("m"), tmp_path / "marker"
    code = f"open({str(marker)!r}, 'w').close()\n"
    for name in (
        "modeling_evil.py",
        "configuration_evil.py",
        "tokenization_evil.py",
        "setup.py",
        "__init__.py",
    ):
        (folder / name).write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_evil.EvilConfig",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
    }
    (folder / "config.json").write_text(json.dumps(config))
    done = llmkit_run("generate", "-m", folder, "--jsonl", "-", "--max-tokens", 2, stdin=ROW)
    assert not marker.exists()
    assert done.status in (0, 1, 2), done.err


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% set x = messages.append(1) %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ],
)
def test_a_template_reaches_nothing_outside_itself(
    template: str, tokenizer_folder: Path, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tokenizer_folder / name).read_bytes())
    (tmp_path / "chat_template.jinja").write_text(template)
    message = {"messages": HELLO, "tools": None, "kwargs": {}, "prefill": ""}
    assert "problem" in Worker(tmp_path).answer(message)


def test_a_template_that_never_ends_holds_up_its_own_request_only(
    serving: Serving, tokenizer_folder: Path, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tokenizer_folder / name).read_bytes())
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    hostile = "{% if messages[0].content == 'hello' %}" + loops + "{% endif %}"
    (tmp_path / "chat_template.jinja").write_text(hostile)

    async def go() -> tuple[Any, bool]:
        async with serving() as client:
            (served,) = client.app.state.serve.models.all()  # type: ignore[attr-defined]
            served.prompts = PromptPool(tmp_path, workers=1, seconds=1.0)
            await served.prompts.start()
            hostile = asyncio.create_task(client.post(CHAT, json=WITH_BODY[CHAT]))
            await asyncio.sleep(0.1)
            statuses = [(await client.get("/health")).status_code for _ in range(20)]
            plain = await client.post(COMPLETIONS, json=WITH_BODY[COMPLETIONS])
            beside = not hostile.done() and statuses == [200] * 20 and plain.status_code == 200
            answer = await hostile
            await served.prompts.close()
            return answer, beside

    answer, beside = asyncio.run(go())
    assert beside, "the others were answered while it was rendered"
    assert refused(answer, "messages") and answer.json()["error"]["code"] == "too_costly"


@pytest.mark.parametrize("name", ["tokenize", "chat_template", "add_generation_prompt", "messages", "tools"])
@pytest.mark.parametrize("path", [CHAT, "/apply-template"])
def test_how_a_template_is_run_is_not_up_to_a_request(path: str, name: str, shared: Shared) -> None:
    body = {**WITH_BODY[path], "chat_template_kwargs": {name: True}}
    body = {key: value for key, value in body.items() if path == CHAT or key != "max_tokens"}
    assert refused(shared.post(path, body), f"chat_template_kwargs.{name}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("n", value) for value in (10**9, 10**30, 17, 0, -1)],
        *[("max_tokens", value) for value in (-1, 0, -(2**63))],
        *[("top_k", value) for value in (-2, -(2**31))],
        *[("logprobs", value) for value in (-1, 10**9)],
        *[("temperature", value) for value in (-0.1, -1e300)],
        *[("top_p", value) for value in (-1, 0, 1.5)],
        *[("min_p", value) for value in (-1, 2)],
        *[("repetition_penalty", value) for value in (0, -1)],
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"999999999": 1}),
        ("logit_bias", {str(number): 1 for number in range(5000)}),
        ("stop", ["a"] * 100),
        ("stop", [""]),
        ("stop", "a" * 100_000),
        ("prompt", [-1]),
        ("prompt", [10**30]),
        ("prompt", [[1]] * 1000),
    ],
    ids=repr,
)
def test_a_number_out_of_range_is_refused_before_anything_is_computed(
    field: str, value: Any, shared: Shared
) -> None:
    passes = shared.client.thread.load().passes  # type: ignore[attr-defined]
    assert refused(shared.post(COMPLETIONS, {"prompt": IDS, field: value}))
    assert shared.client.thread.load().passes == passes  # type: ignore[attr-defined]


def test_a_temperature_near_nothing_is_greedy(shared: Shared) -> None:
    def text(temperature: float) -> Any:
        body = {"prompt": IDS, "max_tokens": 8, "ignore_eos": True, "temperature": temperature}
        return shared.post(COMPLETIONS, body).json()["choices"][0]["text"]

    assert text(1e-45) == text(1e-10) == text(0)


def test_a_prompt_over_the_byte_cap_is_refused_without_being_encoded(shared: Shared) -> None:
    (served,) = shared.client.app.state.serve.models.all()  # type: ignore[attr-defined]
    asked: list[Any] = []
    kept, served.prompts._run = served.prompts._run, asked.append
    try:
        answer = shared.post(COMPLETIONS, {"prompt": "a" * 1_500_000})
        chat = shared.post(CHAT, {"messages": [{"role": "user", "content": "a" * 1_500_000}]})
    finally:
        served.prompts._run = kept
    assert refused(answer, "prompt") and "bytes" in answer.json()["error"]["message"]
    assert refused(chat, "messages") and asked == []


def test_a_prompt_over_the_context_is_refused_with_both_numbers(shared: Shared) -> None:
    answer = shared.post(COMPLETIONS, {"prompt": [1] * 300})
    assert refused(answer, "prompt")
    assert "300" in answer.json()["error"]["message"] and "256" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", list(WITH_BODY))
@pytest.mark.parametrize(
    "body",
    [
        *[b"", b"{", b"null", b"[]", b'"a"', b"1", b"\xff\xfe", b"{}x", b'{"a":1,}', b"\x00"],
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"messages": ' + b"[" * 70 + b"]" * 70 + b"}",
        *[b'{"%s": NaN}' % name for name in (b"temperature", b"prompt", b"messages")],
        *[b'{"temperature": %s}' % value for value in (b"Infinity", b"1e400", b"-1e400")],
        b'{"prompt": "\\ud800", "input": "\\ud800", "messages": "\\ud800", "tokens": "\\ud800"}',
        b'{"messages": [{"role": "user", "content": "\\udfff"}]}',
    ],
    ids=lambda body: repr(body[:30]) if isinstance(body, bytes) else None,
)
def test_a_body_that_is_not_what_it_should_be_is_400_everywhere(
    path: str, body: bytes, shared: Shared
) -> None:
    assert refused(shared.post(path, body))


@pytest.mark.parametrize("path", list(WITH_BODY))
def test_a_body_over_two_megabytes_is_413_whether_its_length_is_told_or_not(
    path: str, shared: Shared
) -> None:
    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 65_536

    assert shared.post(path, b" " * (3 << 20)).status_code == 413
    assert shared(shared.client.post(path, content=chunks())).status_code == 413


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


@pytest.mark.parametrize(
    "rule",
    [
        {"regex": "("},
        {"regex": "[z-a]"},
        {"regex": "(a{1000}){1000}"},
        {"regex": "(a*)*" * 20_000},
        {"json_schema": {"type": "no such type"}},
        {"json_schema": {"type": "string", "pattern": "\\d("}},
        {"json_schema": {"$ref": "#/nowhere"}},
        {"json_schema": {"$ref": "http://127.0.0.1:1/schema.json"}},
        {"json_schema": nested(200)},
        {"json_schema": {"enum": ["a" * 100_000]}},
        {"choice": []},
        {"choice": ["a" * 100_000]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}},
        {"response_format": {"type": "grammar", "grammar": "root ::= root"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": 7}}]},
        {"tools": [{"type": "function", "function": {"name": "f" * 1000}}]},
        {"tools": [{"type": "function"}] * 200},
    ],
    ids=lambda rule: json.dumps(rule)[:40],
)
def test_a_rule_that_cannot_be_or_costs_too_much_is_refused_and_the_next_one_works(
    rule: dict[str, Any], shared: Shared
) -> None:
    pytest.importorskip("llguidance")
    good = {"messages": HELLO, "max_tokens": 30, "temperature": 0, "choice": ["yes", "no"]}
    before = shared.post(CHAT, good).json()["choices"][0]["message"]["content"]
    bad = shared.post(CHAT, {"messages": HELLO, "max_tokens": 5, **rule})
    assert refused(bad), bad.text
    after = shared.post(CHAT, good).json()["choices"][0]["message"]["content"]
    assert before == after and after in ("yes", "no")


def test_a_rule_may_go_on_after_its_text_is_complete(shared: Shared) -> None:
    pytest.importorskip("llguidance")
    body = {"prompt": IDS, "choice": ["a"], "max_tokens": 40, "ignore_eos": True}
    answer = shared.post(COMPLETIONS, body)
    assert answer.status_code in (200, 400) and works(shared)


@pytest.mark.parametrize(
    "part",
    [
        lambda url: {"type": "image_url", "image_url": {"url": url}},
        lambda url: {"type": "input_image", "image_url": url},
        lambda url: {"type": "input_audio", "input_audio": {"data": url}},
        lambda url: {"type": "file", "file": {"file_id": url}},
        lambda url: {"type": "image", "source": {"type": "url", "url": url}},
    ],
)
def test_an_address_in_a_message_is_never_contacted(part: Any, shared: Shared) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bait:
        bait.settimeout(0.05)
        url = f"http://127.0.0.1:{bait.getsockname()[1]}/x.png"
        messages = [{"role": "user", "content": [part(url)]}]
        for path in (CHAT, "/v1/messages", "/apply-template", "/tokenize"):
            body = {**WITH_BODY[path], "messages": messages}
            body.pop("prompt", None)
            assert refused(shared.post(path, body)), path
        assert refused(shared.post("/v1/responses", {"input": messages}))
        with pytest.raises(TimeoutError):
            bait.accept()


def test_every_key_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def counted(a: str, b: str) -> bool:
        compared.append(b)
        return real(a, b)

    real = hmac.compare_digest
    monkeypatch.setattr(keys_module.hmac, "compare_digest", counted)
    gate = gate_of("first", "second", "third")
    assert gate.identify("first").name == "first" and len(compared) == 3


def test_every_route_but_two_needs_a_key_and_no_other_says_whether_it_is_there(serving: Serving) -> None:
    async def go() -> dict[tuple[str, str], set[int]]:
        async with serving(gate=gate_of("alice")) as client:
            app = client.app  # type: ignore[attr-defined]
            routes = [one for one in app.routes if isinstance(one, Route)]
            found: dict[tuple[str, str], set[int]] = {}
            for path in [*(one.path for one in routes), "/admin", "/no-such", "/docs", "/v1"]:
                for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
                    place = path.replace("{name:path}", "tiny")
                    given = [
                        {},
                        {"authorization": "Bearer wrong"},
                        {"x-api-key": ""},
                        {"authorization": "alice"},
                    ]
                    answers = [await client.request(method, place, headers=one) for one in given]
                    found[method, path] = {one.status_code for one in answers}
            return found

    open_paths = {*OPEN, "/"}  # `/` is the page, which has no secret
    for (method, path), statuses in asyncio.run(go()).items():
        assert statuses == {401} or path in open_paths, f"{method} {path}: {statuses}"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "GET"])
@pytest.mark.parametrize("path", list(WITH_BODY))
def test_a_wrong_method_is_405_in_the_words_of_the_endpoint(method: str, path: str, shared: Shared) -> None:
    answer = shared(shared.client.request(method, path))
    assert answer.status_code == 405 and answer.json()["error"]["message"]


def test_nothing_of_the_administration_is_on_the_port_for_clients(serving: Serving) -> None:
    async def go() -> list[int]:
        async with serving(gate=gate_of("alice")) as client:
            head = {"authorization": "Bearer alice"}
            places = [
                ("POST", "/admin/models"),
                ("DELETE", "/v1/models/tiny"),
                ("POST", "/v1/load_lora_adapter"),
            ]
            return [(await client.request(*one, headers=head)).status_code for one in places]

    assert set(asyncio.run(go())) <= {404, 405}


def test_a_second_key_or_salt_finds_nothing_of_the_first_ones_prompt_in_the_cache(serving: Serving) -> None:
    body = {"prompt": list(range(3, 103)), "max_tokens": 1}

    async def go() -> list[int]:
        async with serving(gate=gate_of("alice", "bob")) as client:
            cached = []
            for key in ("alice", "alice", "bob", "bob"):
                head = {"authorization": f"Bearer {key}"}
                answer = await client.post(COMPLETIONS, json=body, headers=head)
                cached.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
            for salt in ("x", "y", "x"):
                answer = await client.post(
                    COMPLETIONS, json={**body, "cache_salt": salt}, headers={"x-api-key": "alice"}
                )
                cached.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
            return cached

    first, again, other, other_again, x, y, x_again = asyncio.run(go())
    assert (first, other, x, y) == (0, 0, 0, 0)
    assert again == other_again == x_again > 0


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        b"\x00" * 4,
        *[
            struct.pack("<Q", len(header)) + header + b"\x00" * 8
            for header in (
                b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1000]}}',
                b'{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}',
                b'{"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,8]}}',
                b'{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}',
            )
        ],
    ],
    ids=lambda content: repr(content[:24]),
)
def test_malformed_weights_end_in_a_message(content: bytes, tiny_model: Any, llmkit_run: Any) -> None:
    folder = tiny_model("m")
    (folder / "model.safetensors").write_bytes(content)
    done = llmkit_run("generate", "-m", folder, "--jsonl", "-", "--max-tokens", 2, stdin=ROW)
    assert done.status == 3 and "error:" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, {"prompt": ""}),
        (COMPLETIONS, {"prompt": []}),
        (COMPLETIONS, {"prompt": [[]]}),
        (COMPLETIONS, {"prompt": ["a", ""]}),
        (CHAT, {"messages": []}),
        ("/v1/messages", {"messages": [], "max_tokens": 1}),
        ("/v1/responses", {"input": []}),
    ],
)
def test_an_empty_prompt_is_refused(path: str, body: dict[str, Any], shared: Shared) -> None:
    assert refused(shared.post(path, body))


def test_what_can_never_fit_the_cache_is_refused_and_what_outgrows_it_ends(serving: Serving) -> None:
    async def go() -> tuple[Any, Any, Any]:
        async with serving(engine=EngineConfig(positions=64)) as client:
            over = await client.post(COMPLETIONS, json={"prompt": [5] * 100, "max_tokens": 1})
            grows = {"prompt": [5] * 40, "max_tokens": 200, "ignore_eos": True}
            grown = await client.post(COMPLETIONS, json=grows)
            return over, grown, await client.post(COMPLETIONS, json={"prompt": IDS, "max_tokens": 2})

    over, grown, after = asyncio.run(go())
    assert refused(over) and after.status_code == 200
    assert grown.status_code == 400 or grown.json()["choices"][0]["finish_reason"] == "length"


def test_no_other_origin_is_let_in_unless_it_is_named(shared: Shared) -> None:
    head = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    state = shared.client.app.state.serve  # type: ignore[attr-defined]

    def allowed(app: Any, origin: str) -> list[str]:
        async def go() -> list[str]:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                told = {**head, "origin": origin}
                answers = [
                    await client.get("/health", headers=told),
                    await client.options(CHAT, headers=told),
                ]
                return [one.headers.get("access-control-allow-origin", "") for one in answers]

        found: list[str] = shared(go())
        return found

    assert allowed(shared.client.app, "http://evil.example") == ["", ""]  # type: ignore[attr-defined]
    named = build_app(state, origins=["http://mine.example"])
    assert allowed(named, "http://evil.example") == ["", ""]
    assert allowed(named, "http://mine.example") == ["http://mine.example"] * 2


def test_the_log_is_a_line_of_json_a_request_without_what_was_said(shared: Shared) -> None:
    lines: list[str] = []
    state = shared.client.app.state.serve  # type: ignore[attr-defined]
    app = build_app(state, tell=lambda record: lines.append(json.dumps(record)))

    async def go() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            hostile = {"x-request-id": 'x", "key": "root', "user-agent": "secretword"}
            await client.post(COMPLETIONS, json={"prompt": "secretword", "max_tokens": 1}, headers=hostile)
            await client.get("/a%0a%7B%22status%22:200%7D%0d?q=secretword", headers=hostile)
            await client.post(CHAT, content=b'{"secretword": 1}')

    shared(go())
    assert len(lines) == 3 and not any("\n" in line or "\r" in line for line in lines)
    assert not any("secretword" in line for line in lines)
    assert all(json.loads(line)["request_id"].startswith("req_") for line in lines)


def test_a_failure_inside_tells_a_client_nothing_of_the_inside(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"at {Path.cwd()}: secretword")

    (served,) = shared.client.app.state.serve.models.all()  # type: ignore[attr-defined]
    monkeypatch.setattr(served, "prepare", broken)
    answer = shared.post(COMPLETIONS, {"prompt": IDS})
    assert answer.status_code == 500
    assert "secretword" not in answer.text and str(Path.cwd()) not in answer.text
