"""The same messages and functions make the same prompt in a row, in a batch file and on the server."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError
from llmkit.formats.jsonl import BadLine
from llmkit.model.load import load_model
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import generate_files
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.messages import read_conversation, read_functions
from llmkit.workflows.generate.row import Refusal, Row
from llmkit.workflows.generate.rows import read_rows
from tests.server.conftest import served_app

IN_WORDS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HERMES = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}<tool_call>{{ tool | tojson }}{% endfor %}"
    "<|im_end|>\n{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content or '' }}{% for call in message.tool_calls or [] %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
AS_TEXT = HERMES.replace("arguments | tojson", "arguments + ''")
USER = {"role": "user", "content": "Hi"}
PARTS = [{"type": "text", "text": "H"}, {"type": "input_text", "text": "i"}]
FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Köln"}'}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c", "name": "weather", "content": "rain"}
BODIES: dict[str, dict[str, Any]] = {
    "plain": {"messages": [{"role": "system", "content": "Brief."}, USER]},
    "parts": {"messages": [{"role": "user", "content": PARTS}]},
    "no parts": {"messages": [{"role": "user", "content": []}]},
    "developer": {"messages": [{"role": "developer", "content": "Brief."}, USER]},
    "tools": {"messages": [USER], "tools": [TOOL]},
    "a bare function": {"messages": [USER], "tools": [{"type": "function", "function": {"name": "now"}}]},
    "no tools": {"messages": [USER], "tools": []},
    "calls": {"messages": [USER, ASKED, RESULT]},
    "calls and tools": {"messages": [USER, ASKED, {**RESULT, "content": PARTS}, USER], "tools": [TOOL]},
    "a refusal": {"messages": [USER, {"role": "assistant", "content": None, "refusal": "No."}, USER]},
    "reasoning": {"messages": [USER, {"role": "assistant", "content": "a", "reasoning": "b"}, USER]},
}
REFUSED: dict[str, dict[str, Any]] = {
    "an image": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
    "a number": {"messages": [{"role": "user", "content": 5}]},
    "no content": {"messages": [{"role": "user"}]},
    "null": {"messages": [{"role": "user", "content": None}]},
    "no role": {"messages": [{"content": "a"}]},
    "another role": {"messages": [{"role": "robot", "content": "a"}]},
    "a role of no text": {"messages": [{"role": 7, "content": "a"}]},
    "no messages": {"messages": []},
    "another key": {"messages": [{**USER, "wait": 1}]},
    "a user's call": {"messages": [{**USER, "tool_calls": [CALL]}]},
    "calls that are none": {"messages": [USER, {**ASKED, "tool_calls": [{"name": "weather"}]}]},
    "arguments that are none": {
        "messages": [USER, {**ASKED, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]
    },
    "a tool that is none": {"messages": [USER], "tools": [{"type": "function"}]},
    "a tool without its frame": {"messages": [USER], "tools": [FUNCTION]},
}
GREEDY = {"temperature": 0, "max_tokens": 6}


@pytest.fixture
def model(spelled_model: Callable[..., Path]) -> Path:
    return spelled_model(max_position_embeddings=2048)


def _speak(model: Path, template: str) -> None:
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _called(body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": "q", "method": "POST", "url": "/v1/chat/completions", "body": body}


def _read(model: Path, rows: list[dict[str, Any]]) -> list[Row | Refusal]:
    path = _write(model / "rows.jsonl", rows)
    return list(read_rows(open_job(GenerateFiles(model=model, jsonl=path), GenerateConfig()), path))


def _written(model: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    path, out = _write(model / "rows.jsonl", rows), model / "out.jsonl"
    files = GenerateFiles(model=model, jsonl=path, out=out, force=True)
    generate_files(files, GenerateConfig(sampling=GREEDY, device="cpu", dtype="float32"))
    return [json.loads(line) for line in out.read_text().splitlines()]


def _served(model: Path, *asked: tuple[str, dict[str, Any]]) -> list[httpx.Response]:
    async def go() -> list[httpx.Response]:
        async with served_app(load_model(model), model, stop_ids=[0], turn_end=2) as (app, _):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                return [await client.post(path, json=body) for path, body in asked]

    return asyncio.run(go())


@pytest.mark.parametrize("template", [IN_WORDS, HERMES, AS_TEXT], ids=["in words", "hermes", "as text"])
def test_rows_batches_and_requests_of_one_conversation_have_one_prompt(model: Path, template: str) -> None:
    _speak(model, template)
    bodies = list(BODIES.values())
    served = [one.json()["tokens"] for one in _served(model, *(("/tokenize", body) for body in bodies))]
    rows = _read(model, [*bodies, *map(_called, bodies)])
    prompts = [list(row.request.prompt) for row in rows if isinstance(row, Row)]
    assert dict(zip(BODIES, prompts[: len(bodies)], strict=True)) == dict(zip(BODIES, served, strict=True))
    assert prompts[len(bodies) :] == served


def test_rows_batches_and_requests_of_one_conversation_have_one_answer(model: Path) -> None:
    _speak(model, HERMES)
    bodies = [body | GREEDY for body in BODIES.values()]
    served = [one.json() for one in _served(model, *(("/v1/chat/completions", body) for body in bodies))]
    texts = [(one["choices"][0]["message"]["content"], one["usage"]["prompt_tokens"]) for one in served]
    own = [(one["completion"], one["usage"]["prompt_tokens"]) for one in _written(model, bodies)]
    batch = [one["response"]["body"] for one in _written(model, [_called(body) for body in bodies])]
    assert own == texts
    assert [
        (one["choices"][0]["message"]["content"], one["usage"]["prompt_tokens"]) for one in batch
    ] == texts
    assert len({text for text, _ in texts}) > 1


def test_what_the_server_refuses_is_refused_in_its_words(model: Path) -> None:
    bodies = list(REFUSED.values())
    served = [one for one in _served(model, *(("/v1/chat/completions", body) for body in bodies))]
    told = [one.json()["error"] for one in served]
    assert {one.status_code for one in served} == {400}

    answers = _written(model, [*map(_called, bodies), _called({"messages": [USER]})])
    statuses = [one["response"]["status_code"] for one in answers]
    assert statuses == [400] * len(bodies) + [200]
    assert [one["response"]["body"]["error"] for one in answers[:-1]] == told

    bad: list[BadLine] = []
    path = _write(model / "rows.jsonl", [*bodies, {"messages": [USER]}])
    job = open_job(GenerateFiles(model=model, jsonl=path), GenerateConfig())
    assert len(list(read_rows(job, path, bad.append))) == 1
    assert [one.problem for one in bad] == [one["message"] for one in told]
    assert [one.number for one in bad] == list(range(1, len(bodies) + 1))


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_a_row_that_the_server_would_refuse_names_file_and_line(model: Path, body: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:2: (messages|tools)") as caught:
        _read(model, [{"messages": [USER]}, body])
    assert caught.value.hint.startswith(("a message is", "a tool is"))


def test_functions_and_messages_that_are_read_stay_what_they_are_when_read_again() -> None:
    for body in BODIES.values():
        messages, tools = read_conversation(body["messages"]), read_functions(body.get("tools"))
        assert read_conversation(messages) == messages and read_functions(tools) == tools
    assert read_functions(None) == []


def test_examples_to_learn_from_are_prompts_too(model: Path) -> None:
    _speak(model, HERMES)
    answer = {"role": "assistant", "content": "a", "weight": 0, "thinking": "b"}
    results = [
        {**RESULT, "role": role} for role in ("observation", "ipython", "function", "tool_results", "tool")
    ]
    rows = [{"messages": [USER, answer, USER, ASKED, result], "tools": [TOOL]} for result in results]
    plain = {"role": "assistant", "content": "a", "reasoning_content": "b"}
    expected = {"messages": [USER, plain, USER, ASKED, RESULT], "tools": [TOOL]}
    prompts = {one.request.prompt for one in _read(model, [*rows, expected]) if isinstance(one, Row)}
    assert len(prompts) == 1 and len(prompts.pop()) > 10
