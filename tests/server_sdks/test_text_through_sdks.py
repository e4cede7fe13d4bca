"""The SDKs that people use, against the application: what they parse is what was written."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llmkit.tokens.tokenizer import Tokenizer
from tests.server.conftest import Serving

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
GREEDY = {"temperature": 0}
HELLO = [{"role": "user", "content": "hello"}]


def with_openai(serving: Serving, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        async with serving() as client:
            return await work(
                openai.AsyncOpenAI(base_url="http://server/v1", api_key="k", http_client=client)
            )

    return asyncio.run(go())


def with_anthropic(serving: Serving, work: Callable[[Any], Awaitable[Any]]) -> Any:
    httpx2 = pytest.importorskip("httpx2")  # what this SDK speaks HTTP with

    async def go() -> Any:
        async with serving() as client:
            transport = httpx2.ASGITransport(client.app, raise_app_exceptions=False)  # type: ignore[attr-defined]
            spoken = httpx2.AsyncClient(transport=transport, base_url="http://server")
            sdk = anthropic.AsyncAnthropic(base_url="http://server", api_key="k", http_client=spoken)
            return await work(sdk)

    return asyncio.run(go())


def test_openai_lists_the_model_and_completes_with_it(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        models = await client.models.list()
        model = await client.models.retrieve(models.data[0].id)
        options = {
            "prompt": "the",
            "max_tokens": 5,
            "seed": 3,
            "logprobs": 2,
            "extra_body": {"ignore_eos": True},
        }
        return model, await client.completions.create(model=model.id, **options)

    model, done = with_openai(serving, work)
    assert model.id == done.model == "tiny" and done.system_fingerprint == "fp_test"
    choice = done.choices[0]
    assert done.usage.completion_tokens == 5 and choice.finish_reason == "length"
    assert len(choice.logprobs.token_logprobs) == 5 == len(choice.logprobs.top_logprobs)
    assert "".join(choice.logprobs.tokens) == choice.text or "\ufffd" in "".join(choice.logprobs.tokens)


def test_openai_streams_a_chat_whose_deltas_are_the_message(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        options = {"model": "tiny", "messages": HELLO, "max_tokens": 20, "seed": 9}
        whole = await client.chat.completions.create(**options)
        usage = {"include_usage": True}
        events = [
            one
            async for one in await client.chat.completions.create(
                **options, stream=True, stream_options=usage
            )
        ]
        return whole, events

    whole, events = with_openai(serving, work)
    deltas = [one.choices[0].delta.content or "" for one in events if one.choices]
    assert "".join(deltas) == whole.choices[0].message.content
    assert events[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_openai_has_vectors_of_texts_and_of_their_ids_whichever_way_they_are_coded(
    serving: Serving, tokenizer: Tokenizer
) -> None:
    texts = ["the quick fox", "a dog"]

    async def work(client: Any) -> Any:
        ids = [tokenizer.backend.encode(text).ids for text in texts]
        own = await client.embeddings.create(model="tiny", input=texts)  # in base64, which it decodes
        plain = await client.embeddings.create(model="tiny", input=texts, encoding_format="float")
        rows = await client.embeddings.create(model="tiny", input=ids)
        few = await client.embeddings.create(model="tiny", input=texts, dimensions=3)
        try:
            await client.embeddings.create(model="tiny", input="a", dimensions=17)
        except openai.BadRequestError as error:
            return own, plain, rows, few, error

    own, plain, rows, few, error = with_openai(serving, work)
    told = [[one.embedding for one in answer.data] for answer in (own, plain, rows)]
    assert told[0] == told[1] == told[2] and [len(row) for row in told[0]] == [16, 16]
    assert all(sum(x * x for x in row) == pytest.approx(1, abs=1e-5) for row in told[0])
    assert own.usage.prompt_tokens == own.usage.total_tokens == rows.usage.total_tokens > 0
    for whole, short in zip(told[0], few.data, strict=True):
        length = sum(x * x for x in whole[:3]) ** 0.5
        assert short.embedding == pytest.approx([x / length for x in whole[:3]], abs=1e-5)
    assert error.param == "dimensions"


def test_openai_raises_what_is_wrong_with_a_request(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        try:
            await client.chat.completions.create(model="tiny", messages=HELLO, n=99)
        except openai.BadRequestError as error:
            return error

    assert with_openai(serving, work).param == "n"


@pytest.mark.parametrize("max_tokens", [1000, 6])
def test_openai_streams_a_response_that_ends_as_the_whole(max_tokens: int, serving: Serving) -> None:
    async def work(client: Any) -> Any:
        options = {"model": "tiny", "input": "hello", "max_output_tokens": max_tokens, "temperature": 0}
        whole = await client.responses.create(**options)
        return whole, [one async for one in await client.responses.create(**options, stream=True)]

    whole, events = with_openai(serving, work)
    assert [one.sequence_number for one in events] == list(range(len(events)))
    text = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    last = events[-1].response
    assert whole.output_text == last.output_text == text
    assert whole.status == last.status and events[-1].type == f"response.{last.status}"
    assert whole.usage.output_tokens == last.usage.output_tokens


def test_anthropic_sends_a_message_and_counts_it(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        options = {"model": "tiny", "messages": HELLO, "system": "be brief"}
        counted = await client.messages.count_tokens(**options)
        return counted, await client.messages.create(**options, max_tokens=7, extra_body=GREEDY)

    counted, message = with_anthropic(serving, work)
    assert message.stop_reason in ("max_tokens", "end_turn") and message.content[0].type == "text"
    usage = message.usage
    assert usage.input_tokens + usage.cache_read_input_tokens == counted.input_tokens


def test_anthropic_streams_a_message_that_is_the_whole(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        options = {"model": "tiny", "messages": HELLO, "max_tokens": 12, "extra_body": GREEDY}
        whole = await client.messages.create(**options)
        async with client.messages.stream(**options) as stream:
            text = "".join([one async for one in stream.text_stream])
            return whole, text, await stream.get_final_message()

    whole, text, final = with_anthropic(serving, work)
    assert whole.content[0].text == text == final.content[0].text
    assert (whole.stop_reason, whole.usage.output_tokens) == (final.stop_reason, final.usage.output_tokens)


def test_anthropic_goes_on_from_a_reply_that_was_begun(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        begun = [*HELLO, {"role": "assistant", "content": "Once"}]
        return await client.messages.create(model="tiny", messages=begun, max_tokens=3, extra_body=GREEDY)

    assert not with_anthropic(serving, work).content[0].text.startswith("<|im_start|>")
