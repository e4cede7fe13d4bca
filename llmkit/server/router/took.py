"""What an answer took, read from the answer itself: of servers that are not ours. In OpenAI's words and in
Anthropic's."""

from typing import Any

import msgspec

from llmkit.server.gate import Slot

_OURS = {
    **{"completed": "stop", "end_turn": "stop", "stop_sequence": "stop"},
    **{"incomplete": "length", "max_tokens": "length", "tool_use": "tool_calls"},
}
"""How an answer ended, in the words of our own metrics."""


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    input_tokens: int | None = None
    completion_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: dict[str, Any] | None = None
    input_tokens_details: dict[str, Any] | None = None
    cache_read_input_tokens: int | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _Inner(msgspec.Struct):
    usage: _Usage | None = None
    stop_reason: str | None = None
    status: str | None = None


class _Answer(msgspec.Struct):
    """A whole answer, or an event."""

    usage: _Usage | None = None
    choices: list[_Choice] | None = None
    stop_reason: str | None = None
    status: str | None = None
    delta: _Delta | str | None = None
    message: _Inner | str | None = None
    response: _Inner | None = None


def read_usage(body: bytes, slot: Slot) -> bool:
    """Write what an answer or an event says of its tokens into a slot.

    Args:
        body: JSON; anything else says nothing.
        slot: of the request.

    Returns:
        Whether it says nothing else: the event at the end of OpenAI's streams.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    inner = answer.response or (answer.message if isinstance(answer.message, _Inner) else None)
    usage = answer.usage or (inner.usage if inner is not None else None)
    if usage is not None:
        _note(usage, slot)
    delta = answer.delta.stop_reason if isinstance(answer.delta, _Delta) else None
    ends = [one.finish_reason for one in answer.choices or () if one.finish_reason]
    inner_status = None if inner is None else inner.status
    told = next(iter(ends), None) or delta or answer.stop_reason or inner_status or answer.status
    if told != "in_progress":
        slot.finished = _OURS.get(told or "", told) or slot.finished
    return answer.usage is not None and answer.choices == []


def read_usage_event(one: bytes, slot: Slot) -> bool:
    """The same of an event of a stream."""
    for line in one.splitlines():
        if line.startswith(b"data:"):
            return read_usage(line[len(b"data:") :], slot)
    return False


def _note(usage: _Usage, slot: Slot) -> None:
    took = slot.usage
    read = usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens
    written = usage.completion_tokens if usage.completion_tokens is not None else usage.output_tokens
    details = usage.prompt_tokens_details or usage.input_tokens_details or {}
    cached = details.get("cached_tokens") or usage.cache_read_input_tokens or 0
    if read is not None and usage.prompt_tokens is None and usage.cache_read_input_tokens:
        read += usage.cache_read_input_tokens  # Anthropic counts those apart
    took.prompt_tokens = took.prompt_tokens if read is None else read
    took.completion_tokens = took.completion_tokens if written is None else written
    took.cached_tokens = max(took.cached_tokens, cached if isinstance(cached, int) else 0)
