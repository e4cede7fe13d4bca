"""A stream goes on event by event, and ends in the words of its endpoint."""

import json

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.gate import Slot
from llmkit.server.router.relay import Relay

LOST = ApiError(502, "gone", code="worker_lost")


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("gap", [b"\n\n", b"\r\n\r\n"])
def test_whole_events_go_on_whatever_pieces_they_came_in(size: int, gap: bytes) -> None:
    whole = gap.join([b"data: 1", b": ping", b"data: 2", b""])
    relay = Relay("/v1/completions", None)
    told = [
        relay.push((whole + b"data: cut")[begin : begin + size]) for begin in range(0, len(whole) + 9, size)
    ]
    assert b"".join(told) == whole and not relay.is_over
    assert all(one == b"" or one.endswith(gap) for one in told)


@pytest.mark.parametrize(
    ("path", "last"),
    [
        ("/v1/completions", b"data: [DONE]\n\n"),
        ("/v1/chat/completions", b'data: {"error":{"message":"x"}}\n\n'),
        ("/completion", b'data: {"stop":true}\n\n'),
        ("/infill", b'data: {"content":"","stop":true}\n\n'),
        ("/v1/messages", b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
        ("/v1/responses", b'event: response.incomplete\ndata: {"sequence_number":3}\n\n'),
    ],
)
def test_the_last_word_is_known_of_every_endpoint(path: str, last: bytes) -> None:
    relay = Relay(path, Slot())
    relay.push(b"data: {}\n\n")
    assert not relay.is_over
    relay.push(last)
    assert relay.is_over


def test_a_text_about_the_end_of_a_stream_is_not_its_end() -> None:
    relay = Relay("/infill", Slot())
    relay.push(b'data: {"content":"{\\"stop\\":true}","stop":false}\n\n')
    assert not relay.is_over


def test_a_broken_stream_ends_in_openais_words_in_anthropics_and_in_those_of_responses() -> None:
    assert json.loads(Relay("/v1/completions", None).broken(LOST)[6:])["error"]["code"] == "worker_lost"
    name, _, content = Relay("/v1/messages", None).broken(LOST).partition(b"\ndata: ")
    assert name == b"event: error" and json.loads(content)["type"] == "error"
    relay = Relay("/v1/responses", None)
    created = {"sequence_number": 0, "response": {"id": "resp_1", "status": "in_progress"}}
    relay.push(b"event: response.created\ndata: " + json.dumps(created).encode() + b"\n\n")
    relay.push(b'event: response.output_text.delta\ndata: {"sequence_number":4,"delta":"a"}\n\n')
    error, failed = relay.broken(LOST).strip().split(b"\n\n")
    assert json.loads(error.partition(b"data: ")[2])["sequence_number"] == 5
    told = json.loads(failed.partition(b"data: ")[2])
    assert (told["sequence_number"], told["response"]["id"]) == (6, "resp_1")
    assert (told["response"]["status"], told["response"]["error"]["code"]) == ("failed", "worker_lost")


@pytest.mark.parametrize("gap", ["", " "])
def test_how_a_text_ended_is_read_from_its_last_event_though_usage_comes_in_another_or_not_at_all(
    gap: str,
) -> None:
    text = f'data: {{"choices":{gap}[{{"text":"finish_reason \\"stop\\"","finish_reason":{gap}null}}]}}\n\n'
    last = text.replace("null", '"length"')
    usage = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    for more in ("", usage):
        slot = Slot()
        relay = Relay("/v1/completions", slot, hides_usage=True)
        assert relay.push(text.encode()) == text.encode() and slot.finished is None
        assert relay.push((last + more).encode()) == last.encode()
        assert slot.finished == "length"
    assert slot.usage.completion_tokens == 2


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    relay = Relay("/v1/completions", None)
    with pytest.raises(ValueError, match="without an end"):
        relay.push(b"x" * (17 << 20))
