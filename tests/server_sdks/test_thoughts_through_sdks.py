"""Thoughts end to end: the SDKs that people use, the application, an engine that writes what it is told to.

A tiny random model thinks nothing by itself: its tokens are put in the place of what it draws.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import httpx
import pytest
import tokenizers

from llmkit.engine.completion import Piece, TextWriter
from llmkit.engine.config import GenerateConfig
from llmkit.engine.request import Drawn, Request
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.server.tool_bench import ToolBench
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tools.bodies import HARMONY_MARKS
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import generate_files
from tests.server.calling_made import calling_folder, calling_model
from tests.server.conftest import served_app
from tests.server.test_tool_rounds import Weather

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>"
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{{ message.content }}<|end|>{% endfor %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)
OPENED = TEMPLATE + "<think>\n"
WRITTEN = "<think>\nI add.\n</think>\n\nSeven."
HELLO = [{"role": "user", "content": "hello"}]
CHAT = {"model": "tiny", "messages": HELLO}
Work = Callable[[Any, Any], Awaitable[Any]]
Asking = Callable[..., Any]


def thinking_folder(folder: Path, template: str, *, special: bool = False) -> Path:
    """A tokenizer whose template knows thoughts, and which has their marks as tokens."""
    folder = calling_folder(folder)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_tokens([tokenizers.AddedToken(mark, special=special) for mark in ("<think>", "</think>")])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(template)
    return folder


def channel_folder(folder: Path) -> Path:
    """A tokenizer whose template speaks gpt-oss's format."""
    folder = calling_folder(folder)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_special_tokens([tokenizers.AddedToken(mark, special=True) for mark in HARMONY_MARKS])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|return|>"}')
    (folder / "chat_template.jinja").write_text(
        "{% for tool in tools or [] %}namespace functions {{ tool.function.name }}\n{% endfor %}"
        "{% for message in messages %}<|start|>{{ message.role }}<|channel|>final<|message|>"
        "{{ message.content }}{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}"
        "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
    )
    return folder


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    """`asking(work, template, written…)` runs `work(openai client, anthropic client)` against an application
    whose model writes that, the last text again and again, and gives back what it gives, and the prompts
    that were read."""

    def ask(
        work: Work,
        template: str = TEMPLATE,
        *written: str,
        bench: ToolBench | None = None,
        special: bool = False,
        **settings: Any,
    ) -> Any:
        httpx2 = pytest.importorskip("httpx2")  # what anthropic's SDK speaks HTTP with
        folder = thinking_folder(tmp_path, template, special=special)
        tokenizer, prompts = load_tokenizer(folder), list[str]()
        texts = [tokenizer.encode(one) for one in written or (WRITTEN,)]

        async def stream(request: Request, *, shown: Collection[int] = ()) -> AsyncGenerator[Piece]:
            ids = texts[min(len(prompts), len(texts) - 1)]
            prompts.append(tokenizer.decode(request.prompt))
            writer = TextWriter(0, tokenizer, request, shown=shown)
            most = request.sampling.max_tokens
            drawn = [Drawn(one, None) for one in ids] + [Drawn(tokenizer.eos_id or 0, "stop")]
            if len(drawn) > most:
                drawn = [*drawn[: most - 1], Drawn(drawn[most - 1].id, "length")]
            for one in drawn:
                yield writer.push(one)

        async def go() -> Any:
            async with served_app(calling_model(folder, 1024), folder, **settings) as (app, thread):
                thread.stream = stream  # type: ignore[method-assign]
                app.state.serve.bench = bench
                first = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False))
                second = httpx2.AsyncClient(transport=httpx2.ASGITransport(app, raise_app_exceptions=False))
                one = openai.AsyncOpenAI(base_url="http://server/v1", api_key="k", http_client=first)
                two = anthropic.AsyncAnthropic(base_url="http://server", api_key="k", http_client=second)
                return await work(one, two)

        return asyncio.run(go()), prompts

    return ask


@pytest.mark.parametrize(
    ("template", "written"),
    [(TEMPLATE, WRITTEN), (OPENED, WRITTEN.removeprefix("<think>\n"))],
    ids=["begun by the model", "begun by the prompt"],
)
def test_a_chat_tells_thoughts_apart_and_takes_them_back(template: str, written: str, asking: Asking) -> None:
    async def work(client: Any, _: Any) -> Any:
        whole = await client.chat.completions.create(**CHAT)
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = [one async for one in await client.chat.completions.create(**CHAT, **options)]
        told = [*HELLO, whole.choices[0].message.model_dump(exclude_none=True), *HELLO]
        await client.chat.completions.create(model="tiny", messages=told)
        return whole, chunks

    (whole, chunks), prompts = asking(work, template, written)
    message = whole.choices[0].message
    assert (message.content, message.reasoning_content) == ("Seven.", "I add.")
    assert whole.choices[0].finish_reason == "stop"
    deltas = [one.choices[0].delta for one in chunks if one.choices]
    assert "".join(getattr(one, "reasoning_content", "") for one in deltas) == "I add."
    assert "".join(one.content or "" for one in deltas) == "Seven."
    thinking = whole.usage.completion_tokens_details.reasoning_tokens
    assert thinking == whole.usage.completion_tokens - len("\n\nSeven.") - 1
    assert chunks[-1].usage == whole.usage
    assert "<|assistant|><think>I add.</think>Seven.<|end|>" in prompts[-1]


def test_a_response_has_an_item_of_what_was_thought_and_takes_it_back(asking: Asking) -> None:
    async def work(client: Any, _: Any) -> Any:
        whole = await client.responses.create(model="tiny", input="hello")
        events = [one async for one in await client.responses.create(model="tiny", input="a", stream=True)]
        again = [{"role": "user", "content": "hello"}, *whole.output, {"role": "user", "content": "so?"}]
        await client.responses.create(
            model="tiny", input=again, reasoning={"effort": "low", "summary": "auto"}
        )
        return whole, events

    (whole, events), prompts = asking(work)
    thought, message = whole.output
    assert (thought.type, thought.content[0].text) == ("reasoning", "I add.")
    assert whole.output_text == message.content[0].text == "Seven."
    deltas = [one.delta for one in events if one.type == "response.reasoning_text.delta"]
    assert "".join(deltas) == "I add."
    assert [one.type for one in events[-1].response.output] == ["reasoning", "message"]
    assert whole.usage.output_tokens_details.reasoning_tokens > 0
    assert "<|assistant|><think>I add.</think>Seven.<|end|><|user|>so?" in prompts[-1]


def test_a_message_has_a_block_of_what_was_thought_and_takes_it_back(asking: Asking) -> None:
    asked = {"model": "tiny", "max_tokens": 200, "messages": HELLO}

    async def work(_: Any, client: Any) -> Any:
        whole = await client.messages.create(**asked)
        async with client.messages.stream(**asked, thinking={"type": "adaptive"}) as stream:
            events = [one async for one in stream]
            last = await stream.get_final_message()
        turn = {"role": "assistant", "content": [one.model_dump() for one in whole.content]}
        await client.messages.create(**{**asked, "messages": [*HELLO, turn, *HELLO]})
        await client.messages.create(**asked, thinking={"type": "disabled"})
        return whole, events, last

    (whole, events, last), prompts = asking(work)
    thought, text = whole.content
    assert (thought.type, thought.thinking, text.text) == ("thinking", "I add.", "Seven.")
    assert [(one.type, one.thinking) for one in last.content[:1]] == [("thinking", "I add.")]
    assert last.content[1].text == "Seven."
    assert "".join(one.thinking for one in events if one.type == "thinking") == "I add."
    assert "<think>I add.</think>Seven.<|end|>" in prompts[-2]
    assert prompts[-1].endswith("<|assistant|><think></think>")


def test_a_text_that_is_cut_within_thoughts_has_no_content(asking: Asking) -> None:
    async def work(client: Any, other: Any) -> Any:
        chat = await client.chat.completions.create(**CHAT, max_tokens=10)
        response = await client.responses.create(model="tiny", input="hello", max_output_tokens=10)
        message = await other.messages.create(model="tiny", max_tokens=10, messages=HELLO)
        return chat, response, message

    (chat, response, message), _ = asking(work, OPENED, "I add and add")
    choice = chat.choices[0]
    assert (choice.message.content, choice.message.reasoning_content) == ("", "I add and")
    assert choice.finish_reason == "length" and chat.usage.completion_tokens_details.reasoning_tokens == 10
    assert [(one.type, one.status) for one in response.output] == [("reasoning", "incomplete")]
    assert [one.type for one in message.content] == ["thinking"] and message.stop_reason == "max_tokens"


def test_a_server_may_leave_thoughts_in_the_text(asking: Asking) -> None:
    async def work(client: Any, _: Any) -> Any:
        return await client.chat.completions.create(**CHAT)

    for special in (False, True):
        message = asking(work, tells_thoughts=False, special=special)[0].choices[0].message
        assert message.content == WRITTEN and not hasattr(message, "reasoning_content")


def test_a_rule_holds_the_answer_and_not_the_thoughts_before_it(tmp_path: Path) -> None:
    """The engine itself: a bias for the end mark makes the random model think of nothing, or of little."""
    pytest.importorskip("llguidance")
    folder = thinking_folder(tmp_path, OPENED)
    end = load_tokenizer(folder).id_of("</think>")
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    rules: list[dict[str, Any]] = [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}},
        {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": False},
    ]

    async def go() -> list[Any]:
        async with served_app(calling_model(folder, 512), folder) as (app, _):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            http = httpx.AsyncClient(transport=transport)
            client = openai.AsyncOpenAI(base_url="http://server/v1", api_key="k", http_client=http)
            create, options = client.chat.completions.create, {**CHAT, "temperature": 0, "max_tokens": 60}
            done = [await create(**options, **rule, logit_bias={str(end): 99}) for rule in rules]
            return [*done, await create(**options, **rules[0])]

    answer, called, cut = (one.choices[0] for one in asyncio.run(go()))
    assert json.loads(answer.message.content) in ({"a": 1}, {"a": 2}) and answer.finish_reason == "stop"
    (call,) = called.message.tool_calls
    assert json.loads(call.function.arguments) in ({"a": 1}, {"a": 2})
    assert (cut.message.content, cut.finish_reason) == ("", "length") and cut.message.reasoning_content


def test_rules_and_budgets_hold_a_model_of_channels_too(tmp_path: Path) -> None:
    """The engine itself, gpt-oss's format: thoughts and answer have headers of several tokens."""
    pytest.importorskip("llguidance")
    folder = channel_folder(tmp_path)
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    form = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    rules: list[dict[str, Any]] = [
        form,
        {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [tool], **form},
    ]
    ids = {one: load_tokenizer(folder).id_of(one) for one in ("<|end|>", "<|channel|>", "a", "f")}
    thinks = {str(ids["a"]): 99}  # analysis, where another channel could come
    answers = {str(ids["f"]): 99}
    options: dict[str, Any] = {**CHAT, "temperature": 0, "max_tokens": 120}

    async def go() -> list[Any]:
        async with served_app(calling_model(folder, 512), folder) as (app, _):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            http = httpx.AsyncClient(transport=transport)
            client = openai.AsyncOpenAI(base_url="http://server/v1", api_key="k", http_client=http)
            create, budget = client.chat.completions.create, {"thinking_token_budget": 4}
            held = [await create(**options, **rule, logit_bias=thinks, extra_body=budget) for rule in rules]
            return [*held, await create(**options, **form, logit_bias=answers)]

    *thought, plain = (one.choices[0] for one in asyncio.run(go()))
    answer, called, either = thought
    assert {one.message.reasoning_content for one in thought} == {"aaaa"}
    for one in (answer, plain):
        assert json.loads(one.message.content) in ({"a": 1}, {"a": 2}) and one.finish_reason == "stop"
    assert not hasattr(plain.message, "reasoning_content")
    (call,) = called.message.tool_calls
    assert json.loads(call.function.arguments) in ({"a": 1}, {"a": 2})
    said = either.message.content or either.message.tool_calls[0].function.arguments
    assert json.loads(said) in ({"a": 1}, {"a": 2})


def test_a_batch_row_is_answered_with_the_same_thoughts(tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    folder = thinking_folder(tmp_path, OPENED)
    model, end = calling_model(folder, 512), load_tokenizer(folder).id_of("</think>")
    save_model(model, folder)
    rule = {"type": "json_object", "schema": {"enum": [1, 2]}}
    biased = {"logit_bias": {str(end): 99}, "response_format": rule}
    bounded = {"thinking_token_budget": 3, "response_format": rule}
    asked_of = ({}, biased, bounded)
    bodies = [{"messages": HELLO, "temperature": 0, "max_tokens": 12, **more} for more in asked_of]
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    asked = [{"method": "POST", "url": "/v1/chat/completions", "body": one} for one in bodies]
    rows.write_text("".join(json.dumps({"custom_id": str(n), **one}) + "\n" for n, one in enumerate(asked)))
    files = GenerateFiles(model=folder, jsonl=rows, out=out)
    generate_files(files, GenerateConfig(device="cpu", dtype="float32"))
    batch = [json.loads(line)["response"]["body"] for line in out.read_text().splitlines()]

    async def go() -> list[Any]:
        async with served_app(load_model(folder), folder) as (app, _):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                return [(await client.post("/v1/chat/completions", json=one)).json() for one in bodies]

    told = [[one["choices"][0]["message"] for one in answers] for answers in (batch, asyncio.run(go()))]
    assert told[0] == told[1] and [bool(one["content"]) for one in told[0]] == [False, True, True]
    assert told[0][0]["reasoning_content"] and {one["content"] for one in told[0][1:]} <= {"1", "2"}


def test_what_a_client_began_may_be_thought_too(asking: Asking) -> None:
    asked = {"model": "tiny", "max_tokens": 200}

    async def work(_: Any, client: Any) -> Any:
        begun = [*HELLO, {"role": "assistant", "content": "<think>Let me"}]
        return await client.messages.create(**asked, messages=begun)

    thought, text = asking(work, TEMPLATE, " add.</think>Seven.")[0].content
    assert (thought.thinking, text.text) == ("add.", "Seven.")


def test_thoughts_end_where_their_budget_does(tmp_path: Path) -> None:
    """The engine itself: a random model thinks until its tokens are spent, if nothing bounds it."""
    pytest.importorskip("llguidance")
    httpx2 = pytest.importorskip("httpx2")
    folder = thinking_folder(tmp_path, OPENED)
    rule = {"response_format": {"type": "json_object", "schema": {"enum": [1, 2]}}}
    options: dict[str, Any] = {**CHAT, "temperature": 0, "max_tokens": 12}

    async def go() -> list[Any]:
        async with served_app(calling_model(folder, 512), folder) as (app, _):
            http = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False))
            client = openai.AsyncOpenAI(base_url="http://server/v1", api_key="k", http_client=http)
            other = httpx2.AsyncClient(transport=httpx2.ASGITransport(app, raise_app_exceptions=False))
            second = anthropic.AsyncAnthropic(base_url="http://server", api_key="k", http_client=other)
            create, budget = client.chat.completions.create, {"thinking_token_budget": 5}
            asked = {"model": "tiny", "max_tokens": 12, "messages": HELLO}
            return [
                await create(**options),
                await create(**options, extra_body=budget),
                await create(**options, extra_body=budget, **rule),
                await second.messages.create(**asked, thinking={"type": "enabled", "budget_tokens": 5}),
            ]

    endless, free, held, message = asyncio.run(go())
    assert endless.usage.completion_tokens_details.reasoning_tokens == 12
    for one in (free, held):
        assert one.usage.completion_tokens_details.reasoning_tokens == 6  # and the mark
        assert endless.choices[0].message.reasoning_content.startswith(
            one.choices[0].message.reasoning_content
        )
    assert free.choices[0].message.content and held.choices[0].message.content in ("1", "2")
    assert [one.type for one in message.content] == ["thinking", "text"]


def test_a_budget_is_refused_by_its_name_where_no_token_ends_thoughts(asking: Asking) -> None:
    async def work(client: Any, other: Any) -> list[str]:
        with pytest.raises(openai.BadRequestError) as chat:
            await client.chat.completions.create(**CHAT, extra_body={"thinking_token_budget": 9})
        with pytest.raises(anthropic.BadRequestError) as message:
            asked: Any = {"model": "tiny", "max_tokens": 20, "messages": HELLO}
            await other.messages.create(**asked, thinking={"type": "enabled", "budget_tokens": 9})
        return [str(one.value) for one in (chat, message)]

    for more in ({"template": TEMPLATE.replace("think>", "seed:think>")}, {"tells_thoughts": False}):
        first, second = asking(work, **more)[0]
        assert "thinking_token_budget: is " in first and "thinking.budget_tokens: is " in second


def test_thoughts_of_several_rounds_of_the_servers_own_calls_do_not_run_together(
    asking: Asking, tmp_path: Path
) -> None:
    called = WRITTEN.replace("Seven.", '{"name": "weather", "arguments": {"city": "Bern"}}')
    tools = Toolbox((Weather(),), lambda name, arguments: True, max_calls=8)
    bench = ToolBench(tools, load_tokenizer(thinking_folder(tmp_path, TEMPLATE)))

    async def work(client: Any, _: Any) -> Any:
        whole = await client.chat.completions.create(**CHAT, max_tokens=400)
        chunks = [
            one async for one in await client.chat.completions.create(**CHAT, max_tokens=400, stream=True)
        ]
        return whole.choices[0].message, [one.choices[0].delta for one in chunks]

    (message, deltas), _ = asking(work, TEMPLATE, called, called, WRITTEN, called, WRITTEN, bench=bench)
    assert (message.reasoning_content, message.content) == ("I add.\nI add.\nI add.", "Seven.")
    assert "".join(getattr(one, "reasoning_content", "") for one in deltas) == "I add.\nI add."
