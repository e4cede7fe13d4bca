"""The newer events: numbered without a gap, an item for each call, an end that says how."""

import json
from typing import Any

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Answered, Finish, Piece, ToolCall, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.responses_stream import ResponsesStream
from llmkit.server.wire.responses import response_object

ASK = Ask(kind="chat", model="m", sampling=SamplingConfig(), messages=({"role": "user", "content": "a"},))
WHO = Answered("resp_1", 0, "m", None)


def told(events: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(one.split(b"data: ")[1]) for one in events]


@pytest.mark.parametrize(("finish", "last"), [("stop", "completed"), ("length", "incomplete")])
def test_items_are_opened_and_closed_and_events_numbered(finish: Finish, last: str) -> None:
    stream, usage = ResponsesStream(WHO, ASK), Usage(1, 0, 1)
    call = ToolCall(0, "call_1", "add", "{}")
    events = stream.begin(usage) + stream.piece(Piece(0, "a"), usage)
    events += stream.piece(Piece(0, calls=(call,)), usage)
    events += stream.piece(Piece(0, finish=finish), usage) + stream.end(usage)
    found = told(events)
    assert [one["sequence_number"] for one in found] == list(range(len(found)))
    opened, closed = (
        [one["output_index"] for one in found if one["type"].endswith(end)]
        for end in ("item.added", "item.done")
    )
    assert opened == closed == [0, 1]
    assert found[-1]["type"] == f"response.{last}"
    assert [item["type"] for item in found[-1]["response"]["output"]] == ["message", "function_call"]


@pytest.mark.parametrize(("finish", "status"), [("stop", "completed"), ("length", "incomplete")])
def test_the_last_message_is_as_whole_as_the_response(finish: Finish, status: str) -> None:
    who = Answered("resp_1", 0, "m", None, sampling=SamplingConfig(temperature=0.5, top_p=0.9))
    stream, usage = ResponsesStream(who, ASK), Usage(1, 0, 1)
    found = told(stream.begin(usage) + stream.piece(Piece(0, "a", finish=finish), usage) + stream.end(usage))
    response = found[-1]["response"]
    done = next(one["item"] for one in found if one["type"] == "response.output_item.done")
    assert done["status"] == response["output"][0]["status"] == response["status"] == status
    assert (response["temperature"], response["top_p"]) == (0.5, 0.9)


def test_an_answer_of_nothing_still_has_its_message() -> None:
    stream = ResponsesStream(WHO, ASK)
    stream.piece(Piece(0, finish="stop"), Usage())
    last = told(stream.end(Usage()))[-1]["response"]
    assert last["output"][0]["content"][0]["text"] == ""


def test_a_failure_is_told_twice_as_an_error_and_as_the_response() -> None:
    events = told(ResponsesStream(WHO, ASK).failed(ApiError(503, "full", code="queue_full")))
    assert [one["type"] for one in events] == ["error", "response.failed"]
    assert events[0]["message"] == "full" and events[1]["response"]["error"]["code"] == "queue_full"


def test_what_is_streamed_is_the_output_that_comes_in_one_piece() -> None:
    call, usage = ToolCall(0, "call_1", "add", "{}"), Usage(1, 0, 3, 2)
    pieces = [Piece(0, thought="I "), Piece(0, thought="add."), Piece(0, "So"), Piece(0, ":", calls=(call,))]
    for finish, more in (("stop", Piece(0, "Done")), ("length", Piece(0, thought="Hm"))):
        stream = ResponsesStream(WHO, ASK)
        answer = [*pieces, more, Piece(0, finish=finish)]  # type: ignore[arg-type]
        events = stream.begin(usage) + [one for piece in answer for one in stream.piece(piece, usage)]
        found = told(events + stream.end(usage))
        whole = response_object(WHO, [answer], usage)
        assert found[-1]["response"] == whole
        assert [one["item"] for one in found if one["type"].endswith("item.done")] == whole["output"]
        thoughts = [one["delta"] for one in found if one["type"] == "response.reasoning_text.delta"]
        assert thoughts[:2] == ["I ", "add."]
        assert whole["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}
    assert [item["type"] for item in whole["output"]] == [
        "reasoning",
        "message",
        "function_call",
        "reasoning",
    ]
    assert [item["status"] for item in whole["output"]] == ["completed"] * 3 + ["incomplete"]
    assert len({item["id"] for item in whole["output"]}) == 4
