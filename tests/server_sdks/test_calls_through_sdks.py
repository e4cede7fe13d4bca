"""Function calls end to end: the SDKs that people use, the application, an engine that is held to calls.

A tiny random model calls nothing by itself: `tool_choice: required` makes it, and `choice` writes its text.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from llmkit.model.transformer import Transformer
from llmkit.tokens.load import load_tokenizer
from tests.server.calling_made import calling_folder, calling_model
from tests.server.conftest import served_app

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
pytest.importorskip("llguidance")

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Bern", "Köln"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "it", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now", "parameters": NOTHING}},
]
HELLO = [{"role": "user", "content": "hello"}]
REQUIRED = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
CHAT = {"model": "tiny", "messages": HELLO, "temperature": 0, "max_tokens": 200}
FORMS = ("mistral", "hermes", "qwen-xml", "json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calling_folder(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Transformer:
    return calling_model(folder, 512)


Asking = Callable[..., Any]


@pytest.fixture
def asking(model: Transformer, folder: Path) -> Asking:
    """`asking(form, work)` runs `work(openai client, anthropic client)` against an application."""

    def ask(form: str | None, work: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        httpx2 = pytest.importorskip("httpx2")  # what anthropic's SDK speaks HTTP with

        async def go() -> Any:
            async with served_app(model, folder, stop_ids=(0,), tool_form=form) as (app, _):
                first = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False))
                second = httpx2.AsyncClient(transport=httpx2.ASGITransport(app, raise_app_exceptions=False))
                one = openai.AsyncOpenAI(base_url="http://server/v1", api_key="k", http_client=first)
                two = anthropic.AsyncAnthropic(base_url="http://server", api_key="k", http_client=second)
                return await work(one, two)

        return asyncio.run(go())

    return ask


def check(name: str, arguments: dict[str, Any]) -> None:
    """The schemas, by hand."""
    if name == "now":
        assert arguments == {}
        return
    assert name == "weather" and set(arguments) == {"city", "days"}
    assert arguments["city"] in ("Bern", "Köln") and 1 <= arguments["days"] <= 9


@pytest.mark.parametrize("form", FORMS)
def test_a_chat_calls_a_function_streamed_or_not_and_goes_on_with_its_result(
    form: str, asking: Asking
) -> None:
    async def work(client: Any, _: Any) -> Any:
        whole = await client.chat.completions.create(**CHAT, **REQUIRED)
        stream = await client.chat.completions.create(**CHAT, **REQUIRED, stream=True)
        events = [one async for one in stream]
        message = whole.choices[0].message
        (call,) = message.tool_calls
        told = [
            *HELLO,
            message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "7"},
        ]
        options = {**CHAT, "messages": told, "max_tokens": 5}
        after = await client.chat.completions.create(**options, tools=TOOLS, tool_choice="none")
        return whole, events, after

    whole, events, after = asking(None if form == "mistral" else form, work)
    choice = whole.choices[0]
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    check(call.function.name, json.loads(call.function.arguments))
    deltas = [one.choices[0].delta for one in events]
    (streamed,) = [one for delta in deltas for one in delta.tool_calls or []]
    assert streamed.function == type(streamed.function)(**call.function.model_dump()) and streamed.index == 0
    assert "".join(delta.content or "" for delta in deltas) == ""
    assert events[-1].choices[0].finish_reason == "tool_calls"
    assert after.choices[0].message.tool_calls is None and after.choices[0].finish_reason in (
        "stop",
        "length",
    )


def test_the_function_that_is_named_is_called(asking: Asking) -> None:
    named = {"type": "function", "function": {"name": "now"}}

    async def work(client: Any, _: Any) -> Any:
        return await client.chat.completions.create(
            **CHAT, tools=TOOLS, tool_choice=named, parallel_tool_calls=False
        )

    (call,) = asking(None, work).choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("now", "{}")


def test_a_response_has_a_function_call_streamed_or_not(asking: Asking) -> None:
    flat = [{"type": "function", "strict": True, **tool["function"]} for tool in TOOLS]  # type: ignore[dict-item]
    options = {"model": "tiny", "temperature": 0, "tools": flat, "parallel_tool_calls": False}

    async def work(client: Any, _: Any) -> Any:
        whole = await client.responses.create(**options, input="hello", tool_choice="required")
        stream = await client.responses.create(**options, input="hello", tool_choice="required", stream=True)
        events = [one async for one in stream]
        call = whole.output[0].model_dump(exclude_none=True)
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "7"}
        told = [*HELLO, call, result]
        more = {**options, "tool_choice": "none", "max_output_tokens": 5}
        after = await client.responses.create(**more, input=told)
        return (
            whole,
            events,
            after,
            await client.responses.create(**more, input=[result], previous_response_id=whole.id),
        )

    whole, events, after, by_id = asking(None, work)
    assert (by_id.output_text, by_id.usage.input_tokens) == (after.output_text, after.usage.input_tokens)
    (item,) = whole.output
    assert item.type == "function_call" and whole.output_text == "" and whole.status == "completed"
    check(item.name, json.loads(item.arguments))
    (last,) = events[-1].response.output
    assert events[-1].type == "response.completed"
    assert (last.name, last.arguments) == (item.name, item.arguments)
    assert "response.function_call_arguments.done" in {one.type for one in events}
    assert after.output[0].type == "message"


def test_a_message_uses_a_tool_streamed_or_not_and_goes_on_with_its_result(asking: Asking) -> None:
    tools = [
        {"name": "weather", "description": "it", "input_schema": SCHEMA},
        {"name": "now", "input_schema": NOTHING},
    ]
    options: dict[str, Any] = {"model": "tiny", "max_tokens": 200, "tools": tools}
    options["extra_body"] = {"temperature": 0}
    any_tool = {"type": "any", "disable_parallel_tool_use": True}

    async def work(_: Any, client: Any) -> Any:
        whole = await client.messages.create(**options, messages=HELLO, tool_choice=any_tool)
        async with client.messages.stream(**options, messages=HELLO, tool_choice=any_tool) as stream:
            final = await stream.get_final_message()
        block = whole.content[0]
        used = {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
        result = {"type": "tool_result", "tool_use_id": block.id, "content": "7"}
        told = [
            *HELLO,
            {"role": "assistant", "content": [used]},
            {"role": "user", "content": [result, {"type": "text", "text": "so?"}]},
        ]
        after = await client.messages.create(
            **{**options, "max_tokens": 5}, messages=told, tool_choice={"type": "none"}
        )
        return whole, final, after

    whole, final, after = asking(None, work)
    (block,) = whole.content
    assert whole.stop_reason == final.stop_reason == "tool_use" and block.type == "tool_use"
    check(block.name, block.input)
    assert (final.content[0].name, final.content[0].input) == (block.name, block.input)
    assert after.content[0].type == "text"


SAID = 'Well.\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'


def test_a_tool_runner_with_nothing_but_its_tools_said_sends_the_whole_conversation(asking: Asking) -> None:
    called: list[str] = []

    @anthropic.beta_async_tool  # type: ignore[untyped-decorator]
    async def town(name: Literal["Bern", "Rome"]) -> str:
        """Tells of a town.

        Args:
            name: of the town.
        """
        called.append(name)
        return f"<{name}>"

    async def work(_: Any, client: Any) -> Any:
        runner = client.beta.messages.tool_runner(
            model="tiny",
            max_tokens=200,
            messages=HELLO,
            tools=[town],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
            max_iterations=2,
        )
        return [message async for message in runner]

    first, second = asking("hermes", work)
    (use,) = [one for one in first.content if one.type == "tool_use"]
    assert called[:1] == [use.input["name"]] and second.usage.input_tokens > first.usage.input_tokens


def test_of_allowed_tools_one_is_called_and_no_other_is_known(asking: Asking) -> None:
    async def work(client: Any, _: Any) -> Any:
        only = {"type": "function", "function": {"name": "now"}}
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [only]}}
        chat = await client.chat.completions.create(**CHAT, **REQUIRED | {"tool_choice": allowed})
        alone = await client.chat.completions.create(**CHAT, **REQUIRED | {"tools": TOOLS[1:]})
        response = await client.responses.create(
            model="tiny",
            input="hello",
            max_output_tokens=200,
            tools=[{"type": "function", **tool["function"]} for tool in TOOLS],
            tool_choice={
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "now"}],
            },
        )
        return chat, alone, response

    chat, alone, response = asking("hermes", work)
    assert {one.function.name for one in chat.choices[0].message.tool_calls} == {"now"}
    assert chat.usage.prompt_tokens == alone.usage.prompt_tokens
    assert {one.name for one in response.output} == {"now"}
    assert response.tool_choice.type == "allowed_tools"


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_the_models_own_accord_is_found_with_the_text_before_it(
    stream: bool, asking: Asking, folder: Path
) -> None:
    begins = {str(load_tokenizer(folder).id_of("W")): 100.0}  # else it may choose to call something at once
    options = {**CHAT, "tools": TOOLS, "extra_body": {"choice": [SAID]}, "logit_bias": begins}

    async def work(client: Any, _: Any) -> Any:
        if not stream:
            return (await client.chat.completions.create(**options)).choices[0]
        return [one.choices[0] async for one in await client.chat.completions.create(**options, stream=True)]

    assert told(asking("hermes", work)) == ("Well.", [("now", "{}")], "tool_calls")


def told(found: Any) -> tuple[str, list[tuple[str, str]], str]:
    """Text, calls and finish of an answer in one piece, or of its events."""
    if not isinstance(found, list):
        calls = [(one.function.name, one.function.arguments) for one in found.message.tool_calls or []]
        return found.message.content or "", calls, found.finish_reason
    text = "".join(one.delta.content or "" for one in found)
    pieces = [one for choice in found for one in choice.delta.tool_calls or []]
    return text, [(one.function.name, one.function.arguments) for one in pieces], found[-1].finish_reason


def test_without_tools_or_with_none_of_them_allowed_nothing_is_taken_for_a_call(asking: Asking) -> None:
    async def work(client: Any, _: Any) -> Any:
        said = {**CHAT, "extra_body": {"choice": [SAID]}}
        none = await client.chat.completions.create(**said, tools=TOOLS, tool_choice="none")
        bare = await client.chat.completions.create(**said)
        return none.choices[0], bare.choices[0]

    for choice in asking("hermes", work):
        assert (choice.message.content, choice.message.tool_calls) == (SAID, None)
        assert choice.finish_reason == "stop"


def wrong(schema: dict[str, Any]) -> dict[str, Any]:
    """A call is required of a function whose schema cannot be held to."""
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    return {"tool_choice": "required", "tools": [tool]}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tool_choice": "required", "response_format": {"type": "json_object"}}, "tool_choice"),
        ({"extra_body": {"regex": "a+"}}, "tools"),
        (wrong({"type": "array"}), "tools"),
        (wrong({"properties": {"a": {"type": "nonsense"}}}), "tools"),
        (wrong({"properties": {"a": {"type": "string", "pattern": "("}}}), "tools"),
    ],
)
def test_what_cannot_be_held_to_is_refused_by_its_name(
    more: dict[str, Any], param: str, asking: Asking
) -> None:
    async def work(client: Any, _: Any) -> Any:
        try:
            await client.chat.completions.create(**{**CHAT, "tools": TOOLS, **more})
        except openai.BadRequestError as error:
            return error.param

    assert asking(None, work) == param
