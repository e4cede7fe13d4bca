"""A response as OpenAI's newer events, numbered: items opened, told and closed."""

from typing import Any

from llmkit.server.answer import Answered, ExecutedTool, Piece, ToolCall, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.sse import event
from llmkit.server.wire.responses import (
    call_item,
    closed,
    executed_item,
    message_item,
    opened,
    text_part,
)


class ResponsesStream:
    """Of `/v1/responses`."""

    def __init__(self, who: Answered, ask: Ask) -> None:
        self._who = who
        self._number = 0
        self._text: list[str] | None = None
        self._output: list[dict[str, Any]] = []
        self._last = Piece(0)

    def begin(self, usage: Usage) -> list[bytes]:
        """The response, empty."""
        response = opened(self._who)
        return [self._event("created", response=response), self._event("in_progress", response=response)]

    def piece(self, piece: Piece, usage: Usage) -> list[bytes]:
        """Text goes into one message, each call is an item of its own."""
        events: list[bytes] = []
        self._last = piece
        if piece.text:
            events += self._open_text()
            assert self._text is not None
            self._text.append(piece.text)
            events.append(self._told("output_text.delta", delta=piece.text, logprobs=[]))
        for call in piece.calls:
            events += [*self._close_text(), *self._call(call)]
        for one in piece.executed:
            events += [*self._close_text(), *self._executed(one)]
        return events

    def end(self, usage: Usage) -> list[bytes]:
        """The whole response."""
        events = [] if self._output or self._text is not None else self._open_text()
        events += self._close_text(cut=self._last.finish == "length")
        response = closed(self._who, self._output, usage, self._last)
        kind = "incomplete" if response["status"] == "incomplete" else "completed"
        return [*events, self._event(kind, response=response)]

    def failed(self, error: ApiError) -> list[bytes]:
        """The SDK raises it."""
        return failure_events(error, opened(self._who), self._number)

    def _open_text(self) -> list[bytes]:
        if self._text is not None:
            return []
        self._text = []
        item = self._message("") | {"status": "in_progress", "content": []}
        return [
            self._event("output_item.added", output_index=len(self._output), item=item),
            self._told("content_part.added", part=text_part("")),
        ]

    def _close_text(self, *, cut: bool = False) -> list[bytes]:
        if self._text is None:
            return []
        text = "".join(self._text)
        item = message_item(self._who, text, len(self._output), cut=cut)
        events = [
            self._told("output_text.done", text=text, logprobs=[]),
            self._told("content_part.done", part=text_part(text)),
            self._event("output_item.done", output_index=len(self._output), item=item),
        ]
        self._text = None
        self._output.append(item)
        return events

    def _call(self, call: ToolCall) -> list[bytes]:
        item, index = call_item(call), len(self._output)
        self._output.append(item)
        begun = item | {"arguments": "", "status": "in_progress"}
        place = {"output_index": index, "item_id": item["id"]}
        return [
            self._event("output_item.added", output_index=index, item=begun),
            self._event("function_call_arguments.delta", **place, delta=call.arguments),
            self._event("function_call_arguments.done", **place, name=call.name, arguments=call.arguments),
            self._event("output_item.done", output_index=index, item=item),
        ]

    def _executed(self, one: ExecutedTool) -> list[bytes]:
        item, index = executed_item(one), len(self._output)
        self._output.append(item)
        begun = item | {"arguments": "", "output": None, "error": None, "status": "in_progress"}
        place = {"output_index": index, "item_id": item["id"]}
        return [
            self._event("output_item.added", output_index=index, item=begun),
            self._event("mcp_call.in_progress", **place),
            self._event("mcp_call_arguments.delta", **place, delta=one.arguments),
            self._event("mcp_call_arguments.done", **place, arguments=one.arguments),
            self._event(f"mcp_call.{item['status']}", **place),
            self._event("output_item.done", output_index=index, item=item),
        ]

    def _message(self, text: str) -> dict[str, Any]:
        """The message that is being told, which comes next in the output."""
        return message_item(self._who, text, len(self._output))

    def _told(self, kind: str, **content: Any) -> bytes:
        """An event about the text of the message."""
        item_id = self._message("")["id"]
        place = {"item_id": item_id, "output_index": len(self._output), "content_index": 0}
        return self._event(kind, **place, **content)

    def _event(self, kind: str, **content: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        name = f"response.{kind}"
        return event(name, {"type": name, "sequence_number": number, **content})


def failure_events(error: ApiError, response: dict[str, Any], number: int) -> list[bytes]:
    """The last events of a response that will not be whole.

    Args:
        error: why.
        response: as it was opened; empty: it was not, and there is only the error to tell.
        number: of the first of them.
    """
    told = error.body()["error"]
    named = {"code": told["code"], "message": told["message"], "param": told["param"]}
    events = [event("error", {"type": "error", "sequence_number": number, **named})]
    if response:
        failure = {"code": told["code"] or "server_error", "message": told["message"]}
        last = response | {"status": "failed", "error": failure}
        content = {"type": "response.failed", "sequence_number": number + 1, "response": last}
        events.append(event("response.failed", content))
    return events
