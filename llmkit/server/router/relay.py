"""A worker's stream on its way to the client: whole events only, and always a last word.

A worker that dies leaves a stream without an end, which the openai SDK takes for a complete text. What is
missing is told as an error event in the words of the endpoint.
"""

import re
from typing import Any

import msgspec

from llmkit.server.errors import ApiError
from llmkit.server.gate import Slot
from llmkit.server.handoff import SLOT_COMMENT, read_slot
from llmkit.server.responses_stream import failure_events
from llmkit.server.router.took import read_usage_event
from llmkit.server.sse import data, event
from llmkit.server.wire.llama import LLAMA

MOST_EVENT_BYTES = 16 << 20
_END_OF_EVENT = re.compile(rb"\r?\n\r?\n")
_TOOK = re.compile(rb'"usage"|"finish_reason": ?"')
"""An event that says how many tokens there were, or how a text ended: the two need not come together."""
_SEQUENCE = re.compile(rb'"sequence_number": ?(\d+)')


class Relay:
    """One stream."""

    def __init__(self, path: str, slot: Slot | None, *, hides_usage: bool = False) -> None:
        """
        Args:
            path: of the endpoint.
            slot: what the answer takes is written here.
            hides_usage: whether the client did not ask for the event that tells the usage.
        """
        self._path = path
        self._slot = slot
        self._hides_usage = hides_usage
        self._rest = b""
        self._number = -1
        self._response: dict[str, Any] = {}
        self.events = 0
        """That have gone on."""
        self.is_over = False
        """Whether the last word has been said."""
        self._is_noted = False

    @property
    def is_opening(self) -> bool:
        """Whether nothing is told but that an answer will come: a worker of ours has said so beside it."""
        unwritten = self._slot is not None and self._slot.first_token_seconds is None
        return self._is_noted and unwritten and not self.is_over

    def push(self, content: bytes) -> bytes:
        """What of it goes on to the client: the events that are complete.

        Raises:
            ValueError: an event has no end.
        """
        self._rest += content
        told, begin = [], 0
        for end in _END_OF_EVENT.finditer(self._rest):
            one = self._rest[begin : end.end()]
            begin = end.end()
            if self._passes(one):
                self.events += 1
                told.append(one)
        self._rest = self._rest[begin:]
        if len(self._rest) > MOST_EVENT_BYTES:
            raise ValueError("an event without an end")
        return b"".join(told)

    def broken(self, error: ApiError) -> bytes:
        """The last word, where the worker did not say it."""
        self.is_over = True
        if self._path == "/v1/responses":
            return b"".join(failure_events(error, self._response, self._number + 1))
        if self._path == "/v1/messages":
            return event("error", error.body("anthropic"))
        return data(error.body())

    def _passes(self, one: bytes) -> bool:
        if one.startswith(SLOT_COMMENT):
            self._is_noted = True
            if self._slot is not None:
                read_slot(one[len(SLOT_COMMENT) :].decode(), self._slot)
            return False
        self._notice(one)
        if self._slot is None or not _TOOK.search(one):
            return True
        is_usage_alone = read_usage_event(one, self._slot)
        return not (self._hides_usage and is_usage_alone)

    def _notice(self, one: bytes) -> None:
        """Remember what a last word needs, and whether this is it."""
        if self._path == "/v1/responses":
            for number in _SEQUENCE.findall(one[-200:]) or _SEQUENCE.findall(one):
                self._number = int(number)
            if one.startswith(b"event: response.created"):
                content = msgspec.json.decode(one.partition(b"data: ")[2], type=dict[str, Any])
                self._response = content.get("response", {})
            ends: tuple[bytes, ...] = (
                b"event: response.completed",
                b"event: response.incomplete",
                b"event: response.failed",
            )
        elif self._path == "/v1/messages":
            ends = (b"event: message_stop", b"event: error")
        elif self._path in LLAMA:  # nothing else has an unescaped mark before the colon
            ends = (b"data: ",) if b'"stop":true' in one else (b'data: {"error"',)
        else:
            ends = (b"data: [DONE]", b"data:[DONE]", b'data: {"error"')
        self.is_over = self.is_over or one.startswith(ends)
