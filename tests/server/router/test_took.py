"""What answers of other servers say of their tokens is found, in every endpoint's words."""

import json
from typing import Any

import pytest

from llmkit.server.gate import Slot
from llmkit.server.router.took import read_usage, read_usage_event

CHAT = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
RESPONSE = {"input_tokens": 9, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 5}}
MESSAGE = {"input_tokens": 4, "cache_read_input_tokens": 5, "output_tokens": 4}


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        ({"usage": CHAT, "choices": [{"finish_reason": "stop"}]}, "stop"),
        ({"usage": RESPONSE, "status": "completed"}, "stop"),
        ({"response": {"usage": RESPONSE, "status": "incomplete"}}, "length"),
        ({"usage": MESSAGE, "stop_reason": "end_turn"}, "stop"),
        ({"usage": MESSAGE, "delta": {"stop_reason": "max_tokens"}}, "length"),
        ({"message": {"usage": MESSAGE}}, None),
    ],
)
def test_tokens_are_found(answer: dict[str, Any], finish: str | None) -> None:
    slot = Slot()
    assert not read_usage(json.dumps(answer).encode(), slot)
    usage = slot.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (9, 5, 4)
    assert slot.finished == finish


@pytest.mark.parametrize("body", [b"", b"[DONE]", b"\xff", b'{"usage": 3}', b'{"message": "text"}'])
def test_what_says_nothing_of_tokens_changes_nothing(body: bytes) -> None:
    slot = Slot()
    read_usage(body, slot)
    assert slot == Slot()


def test_only_openais_last_event_says_nothing_but_usage() -> None:
    alone, with_text = {"usage": CHAT, "choices": []}, {"usage": CHAT, "choices": [{}]}
    told = [
        read_usage_event(b"data: " + json.dumps(one).encode() + b"\n\n", Slot()) for one in (alone, with_text)
    ]
    assert told == [True, False] and not read_usage_event(b"event: x\n\n", Slot())
