"""A message as Anthropic's events: opened, block by block, closed."""

from typing import Any

from llmkit.server.answer import Answered, ExecutedTool, Piece, Said, ToolCall, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.sse import event
from llmkit.server.wire.message_blocks import executed_blocks, said_block, tool_use
from llmkit.server.wire.messages import anthropic_usage, opened, stop_reason


class AnthropicStream:
    """Of `/v1/messages`."""

    def __init__(self, who: Answered, ask: Ask) -> None:
        self._who = who
        self._block = 0
        self._open: Said | None = None
        """Whether text or thought is being told, without its text."""
        self._last = Piece(0)

    def begin(self, usage: Usage) -> list[bytes]:
        """The message, empty, and how much was read."""
        message = opened(self._who) | {"usage": anthropic_usage(usage)}
        return [_event("message_start", message=message), _event("ping")]

    def piece(self, piece: Piece, usage: Usage) -> list[bytes]:
        """Thoughts go into a block of their own, and so does text between calls."""
        events = []
        if piece.thought:
            events += self._begin(is_thought=True)
            events.append(self._delta({"type": "thinking_delta", "thinking": piece.thought}))
        if piece.text:
            events += self._begin(is_thought=False)
            events.append(self._delta({"type": "text_delta", "text": piece.text}))
        for one in piece.executed:
            events += [*self._close(), *self._executed(one)]
        for call in piece.calls:
            events += [*self._close(), *self._call(call)]
        self._last = piece
        return events

    def end(self, usage: Usage) -> list[bytes]:
        """Why it ended, and how much was written."""
        reason, matched = stop_reason(self._last)
        delta = {"stop_reason": reason, "stop_sequence": matched}
        return [
            *self._close(),
            _event("message_delta", delta=delta, usage=anthropic_usage(usage)),
            _event("message_stop"),
        ]

    def failed(self, error: ApiError) -> list[bytes]:
        """The SDK raises it."""
        return [event("error", error.body("anthropic"))]

    def _call(self, call: ToolCall) -> list[bytes]:
        started = self._start(tool_use(call))
        told = self._delta({"type": "input_json_delta", "partial_json": call.arguments})
        return [started, told, self._stop()]

    def _executed(self, one: ExecutedTool) -> list[bytes]:
        use, result = executed_blocks(one)
        started = self._start(use)
        told = self._delta({"type": "input_json_delta", "partial_json": one.arguments})
        return [started, told, self._stop(), self._start(result), self._stop()]

    def _begin(self, *, is_thought: bool) -> list[bytes]:
        """Open a block for text or thoughts, where it is not open."""
        said = Said("", is_thought)
        if self._open == said:
            return []
        events = [*self._close(), self._start(said_block(said))]
        self._open = said
        return events

    def _close(self) -> list[bytes]:
        """Close the block for text or thoughts that is open."""
        if self._open is None:
            return []
        signed = [self._delta({"type": "signature_delta", "signature": ""})] * self._open.is_thought
        self._open = None
        return [*signed, self._stop()]

    def _start(self, block: dict[str, Any]) -> bytes:
        return _event("content_block_start", index=self._block, content_block=block)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._block, delta=delta)

    def _stop(self) -> bytes:
        stopped = _event("content_block_stop", index=self._block)
        self._block += 1
        return stopped


def _event(name: str, **content: Any) -> bytes:
    return event(name, {"type": name, **content})
