"""What a router and its workers tell each other comes out as it went in, and nothing else is taken for it."""

import asyncio

import pytest

from llmkit.server.answer import Usage
from llmkit.server.errors import ApiError
from llmkit.server.gate import Caller, Slot
from llmkit.server.handoff import WorkerGate, pack_caller, read_slot, slot_comment, slot_line, unpack_caller
from tests.server.conftest import Serving

BODY = {"prompt": "the", "max_tokens": 3, "ignore_eos": True, "seed": 1}


def test_whose_caches_and_how_urgent_arrive_and_a_name_does_not() -> None:
    told = unpack_caller(pack_caller(Caller("alice", "ten\u00e4nt\n", lowest_priority=-2)))
    assert (told.name, told.tenant, told.lowest_priority) == ("", "ten\u00e4nt\n", -2)


@pytest.mark.parametrize("secret", ["", "word", "two.words"])
def test_where_others_can_ask_too_a_shared_word_is_asked_for(secret: str) -> None:
    caller = Caller(tenant="alice", lowest_priority=3)
    assert WorkerGate(secret).identify(pack_caller(caller, secret)) == caller
    for other in {"", "word", "two.words", "words"} - {secret}:
        with pytest.raises(ApiError) as caught:
            WorkerGate(secret).identify(pack_caller(caller, other))
        assert caught.value.status == 401


@pytest.mark.parametrize("key", ["", "lk-key", "!!!", "e30=", "\u00e4"])
def test_who_is_no_router_is_not_answered(key: str) -> None:
    with pytest.raises(ApiError) as caught:
        WorkerGate().identify(key)
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "slot",
    [
        Slot(),
        Slot(Usage(5, 2, 9), 0.25, tool_calls=2, finished="stop"),
        Slot(Usage(5, 2, 9), 0.25, finished="error", error="internal_error"),
    ],
)
def test_a_slot_comes_out_as_it_went_in(slot: Slot) -> None:
    found = Slot(Usage(1, 1, 1), 1.0, tool_calls=1, finished="length")
    read_slot(slot_line(slot), found)
    assert found == slot
    assert slot_comment(slot).startswith(b": ") and slot_comment(slot).endswith(b"\n\n")


def test_a_line_that_is_no_slot_is_an_error() -> None:
    for line in ("1", "1 2 3", "1 2 3 - stop", "a b c d e f"):
        with pytest.raises(ValueError, match=line[0]):
            read_slot(line, Slot())


def test_a_worker_tells_its_router_what_an_answer_took_and_nobody_else(serving: Serving) -> None:
    async def scenario() -> None:
        for behind in (True, False):
            async with serving(gate=WorkerGate()) as client:
                client.app.state.serve.behind_router = behind  # type: ignore[attr-defined]
                headers = {"authorization": f"Bearer {pack_caller(Caller(tenant='a'))}"}
                whole = await client.post("/v1/completions", json=BODY, headers=headers)
                stream = await client.post("/v1/completions", json={**BODY, "stream": True}, headers=headers)
                assert ("x-llmkit-slot" in whole.headers) == (b"llmkit-slot" in stream.content) == behind
                if behind:
                    slots = [Slot(), Slot()]
                    read_slot(whole.headers["x-llmkit-slot"], slots[0])
                    read_slot(stream.text.rpartition(": llmkit-slot ")[2], slots[1])
                    assert [one.usage.completion_tokens for one in slots] == [3, 3]
                    assert [one.finished for one in slots] == ["length", "length"]

    asyncio.run(scenario())
