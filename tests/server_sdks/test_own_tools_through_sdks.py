"""Calls that the server makes, as the SDKs of OpenAI and Anthropic read them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.model.transformer import Transformer
from llmkit.retrieve.tools.calculator import Calculator
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.server.tool_bench import ToolBench
from llmkit.tokens.load import load_tokenizer
from tests.server.calling_made import calling_folder, calling_model
from tests.server.conftest import served_app

openai = pytest.importorskip("openai")
pytest.importorskip("llguidance")

HELLO = [{"role": "user", "content": "hello"}]


class Sums(Calculator):
    """Has one thing to ask: a random model is held to it by the schema."""

    def __init__(self) -> None:
        super().__init__()
        self.spec.parameters["properties"]["expression"] = {"enum": ["17 * 23"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calling_folder(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Transformer:
    return calling_model(folder, 512)


Asking = Callable[[Callable[[Any], Awaitable[Any]]], Any]


@pytest.fixture
def asking(model: Transformer, folder: Path) -> Asking:
    """`asking(work)` runs `work(client)` against a server with a calculator."""

    def ask(work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def go() -> Any:
            async with served_app(model, folder, stop_ids=(0,)) as (app, _):
                toolbox = Toolbox([Sums()], lambda name, arguments: True)
                app.state.serve.bench = ToolBench(toolbox, load_tokenizer(folder))
                http = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False))
                return await work(
                    openai.AsyncOpenAI(base_url="http://server/v1", api_key="k", http_client=http)
                )

        return asyncio.run(go())

    return ask


def test_a_chat_has_the_answer_and_what_was_executed_streamed_or_not(asking: Asking) -> None:
    options: dict[str, Any] = {"model": "tiny", "messages": HELLO, "temperature": 0, "max_tokens": 100}
    options |= {"parallel_tool_calls": False, "tool_choice": "required"}

    async def work(client: Any) -> Any:
        whole = await client.chat.completions.create(**options)
        message = whole.choices[0].message
        more = [*HELLO, message, {"role": "user", "content": "so?"}]  # sent back as the SDK has it
        after = await client.chat.completions.create(
            **options | {"messages": more, "tool_choice": "none", "max_tokens": 3}
        )
        stream = await client.chat.completions.create(**options, stream=True)
        return message, after, [one.choices[0].delta async for one in stream]

    message, after, deltas = asking(work)
    (called,) = message.executed_tools
    assert (called["name"], called["output"], called["is_error"]) == ("calculator", "391", False)
    assert message.tool_calls is None and message.content
    assert after.choices[0].finish_reason in ("stop", "length")
    executed = [one for delta in deltas for one in getattr(delta, "executed_tools", None) or []]
    assert [one["output"] for one in executed] == ["391"]
    assert "".join(delta.content or "" for delta in deltas) == message.content


def test_a_response_has_the_call_among_its_items_streamed_or_not(asking: Asking) -> None:
    options: dict[str, Any] = {"model": "tiny", "input": "hello", "temperature": 0, "max_output_tokens": 100}
    options |= {"parallel_tool_calls": False, "tool_choice": "required"}

    async def work(client: Any) -> Any:
        whole = await client.responses.create(**options)
        events = [one async for one in await client.responses.create(**options, stream=True)]
        back = [*HELLO, *whole.output, {"role": "user", "content": "so?"}]
        after = await client.responses.create(
            **options | {"input": back, "tool_choice": "none", "max_output_tokens": 3}
        )
        return whole, events, after

    whole, events, after = asking(work)
    kinds, final = [one.type for one in events], events[-1].response
    call, message = whole.output
    assert (call.type, call.name, call.output, call.error) == ("mcp_call", "calculator", "391", None)
    assert call.server_label == "llmkit" and message.type == "message" and whole.output_text
    assert "response.mcp_call.in_progress" in kinds and "response.mcp_call_arguments.done" in kinds
    assert [one.type for one in final.output] == ["mcp_call", "message"]
    assert final.output_text == whole.output_text and final.output[0].output == "391"
    assert after.status in ("completed", "incomplete")


def test_a_message_has_the_call_among_its_blocks_streamed_or_not(model: Transformer, folder: Path) -> None:
    anthropic, httpx2 = pytest.importorskip("anthropic"), pytest.importorskip("httpx2")
    options: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 100}
    options |= {"extra_body": {"temperature": 0}}
    options |= {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}

    async def go() -> Any:
        async with served_app(model, folder, stop_ids=(0,)) as (app, _):
            toolbox = Toolbox([Sums()], lambda name, arguments: True)
            app.state.serve.bench = ToolBench(toolbox, load_tokenizer(folder))
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport) as http:
                client = anthropic.AsyncAnthropic(base_url="http://server", api_key="k", http_client=http)
                whole = await client.beta.messages.create(**options)
                async with client.beta.messages.stream(**options) as stream:
                    streamed = await stream.get_final_message()
                back = [*HELLO, {"role": "assistant", "content": whole.content}]
                back.append({"role": "user", "content": "so?"})
                more = {"messages": back, "tool_choice": {"type": "none"}, "max_tokens": 3}
                return whole, streamed, await client.beta.messages.create(**options | more)

    whole, streamed, after = asyncio.run(go())
    use, result, text = whole.content
    assert (use.type, use.name, use.input) == ("mcp_tool_use", "calculator", {"expression": "17 * 23"})
    assert (result.type, result.is_error, result.content[0].text) == ("mcp_tool_result", False, "391")
    assert [one.type for one in streamed.content] == ["mcp_tool_use", "mcp_tool_result", "text"]
    assert streamed.content[0].input == use.input and streamed.content[2].text == text.text
    assert after.stop_reason in ("end_turn", "max_tokens")
