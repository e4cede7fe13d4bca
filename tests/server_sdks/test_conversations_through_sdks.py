"""A conversation that the server keeps, against the application: as one that its client sends whole."""

from typing import Any

import pytest

from tests.server.conftest import Serving
from tests.server_sdks.test_text_through_sdks import openai, with_openai

OPTIONS = {"model": "tiny", "temperature": 0, "max_output_tokens": 8}
SAID = ("hello", "the fox", "and then?")


def test_turns_by_the_id_of_the_last_are_those_of_the_whole_conversation(serving: Serving) -> None:
    async def work(client: Any) -> tuple[list[Any], list[Any]]:
        by_id: list[Any] = []
        for text in SAID:
            before = by_id[-1].id if by_id else None
            by_id.append(await client.responses.create(input=text, previous_response_id=before, **OPTIONS))
        whole, sent = [], []
        for text in SAID:
            sent.append({"role": "user", "content": text})
            whole.append(await client.responses.create(input=sent, store=False, **OPTIONS))
            sent += [one.to_dict() for one in whole[-1].output]
        return by_id, whole

    by_id, whole = with_openai(serving, work)
    assert [one.output_text for one in by_id] == [one.output_text for one in whole]
    assert [one.usage.input_tokens for one in by_id] == [one.usage.input_tokens for one in whole]
    assert len({one.output_text for one in by_id}) == 3
    assert [one.previous_response_id for one in by_id] == [None, by_id[0].id, by_id[1].id]


def test_the_sdk_counts_what_a_turn_would_read(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        first = await client.responses.create(input="hello", **OPTIONS)
        turn = {"input": "b", "instructions": "be brief", "previous_response_id": first.id, "model": "tiny"}
        counted = await client.responses.input_tokens.count(**turn)
        return counted, await client.responses.create(**turn, max_output_tokens=2)

    counted, told = with_openai(serving, work)
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", told.usage.input_tokens)


def test_instructions_are_those_of_the_turn_and_not_of_the_one_before(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        first = await client.responses.create(input="hello", instructions="be brief", **OPTIONS)
        plain = await client.responses.create(input="b", previous_response_id=first.id, **OPTIONS)
        talk = [{"role": "user", "content": "hello"}, *[one.to_dict() for one in first.output]]
        whole = await client.responses.create(input=[*talk, {"role": "user", "content": "b"}], **OPTIONS)
        return first, plain, whole

    first, plain, whole = with_openai(serving, work)
    assert first.instructions == "be brief" and plain.instructions is None
    assert plain.usage.input_tokens == whole.usage.input_tokens and plain.output_text == whole.output_text


def test_a_stream_is_kept_and_gone_on_from_as_soon_as_it_is_complete(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        stream = await client.responses.create(input="hello", stream=True, **OPTIONS)
        async for event in stream:
            if event.type in ("response.completed", "response.incomplete"):
                final, name = event.response, event.response.id
                kept = await client.responses.retrieve(name)
                further = await client.responses.create(input="b", previous_response_id=name, **OPTIONS)
        plain = await client.responses.create(input="hello", **OPTIONS)
        same = await client.responses.create(input="b", previous_response_id=plain.id, **OPTIONS)
        return kept, final, further, same

    kept, final, further, same = with_openai(serving, work)
    assert kept.output_text == final.output_text and kept.status == "incomplete"
    assert further.output_text == same.output_text


def test_the_sdk_lists_what_was_asked_page_by_page_and_deletes(serving: Serving) -> None:
    async def work(client: Any) -> Any:
        name = None
        for text in SAID:
            told = await client.responses.create(input=text, previous_response_id=name, **OPTIONS)
            name = told.id
        pages = client.responses.input_items.list(name, limit=2, order="asc")
        items = [one async for one in pages]
        await client.responses.delete(name)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(name)
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(input="x", previous_response_id=name, **OPTIONS)
        return items, caught.value

    items, error = with_openai(serving, work)
    assert [one.role for one in items] == ["user", "assistant"] * 2 + ["user"]
    assert [one.content[0].text for one in items[::2]] == list(SAID)
    assert (error.code, error.param) == ("previous_response_not_found", "previous_response_id")
    assert "send the conversation as input" in error.message
