"""A response as OpenAI's newer events, numbered: items opened, told and closed."""

from collections.abc import Callable
from typing import Any

from llmkit.server.answer import Answered, ExecutedTool, Piece, Said, ToolCall, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.sse import event
from llmkit.server.wire.response_output import call_item, executed_item, said_item, said_part
from llmkit.server.wire.responses import closed, opened


class ResponsesStream:
    """Of `/v1/responses`."""

    def __init__(
        self, who: Answered, ask: Ask, keep: Callable[[dict[str, Any]], Any] = lambda response: None
    ) -> None:
        """
        Args:
            who: answers.
            ask: what is asked for.
            keep: gets the whole response before its last event is told: a client may go on from it then.
        """
        self._who = who
        self._keep = keep
        self._number = 0
        self._texts: list[str] = []
        self._open: Said | None = None
        """Whether text or thought is being told, without its text."""
        self._output: list[dict[str, Any]] = []
        self._last = Piece(0)

    def begin(self, usage: Usage) -> list[bytes]:
        """The response, empty."""
        response = opened(self._who)
        return [self._event("created", response=response), self._event("in_progress", response=response)]

    def piece(self, piece: Piece, usage: Usage) -> list[bytes]:
        """Text goes into one message, thoughts into one item; each call is an item of its own."""
        events: list[bytes] = []
        self._last = piece
        if piece.thought:
            events += self._begin(is_thought=True)
            events.append(self._told("reasoning_text.delta", delta=piece.thought))
            self._texts.append(piece.thought)
        if piece.text:
            events += self._begin(is_thought=False)
            events.append(self._told("output_text.delta", delta=piece.text, logprobs=[]))
            self._texts.append(piece.text)
        for call in piece.calls:
            events += [*self._close(), *self._call(call)]
        for one in piece.executed:
            events += [*self._close(), *self._executed(one)]
        return events

    def end(self, usage: Usage) -> list[bytes]:
        """The whole response."""
        events = [] if self._output or self._open else self._begin(is_thought=False)
        events += self._close(cut=self._last.finish == "length")
        response = closed(self._who, self._output, usage, self._last)
        self._keep(response)
        kind = "incomplete" if response["status"] == "incomplete" else "completed"
        return [*events, self._event(kind, response=response)]

    def failed(self, error: ApiError) -> list[bytes]:
        """The SDK raises it."""
        return failure_events(error, opened(self._who), self._number)

    def _begin(self, *, is_thought: bool) -> list[bytes]:
        """Open an item for text or thoughts, where it is not open."""
        said = Said("", is_thought)
        if self._open == said:
            return []
        events = self._close()
        self._open = said
        item = said_item(self._who, said, len(self._output)) | {"status": "in_progress", "content": []}
        return [
            *events,
            self._event("output_item.added", output_index=len(self._output), item=item),
            self._told("content_part.added", part=said_part(said)),
        ]

    def _close(self, *, cut: bool = False) -> list[bytes]:
        """Close the item for text or thoughts that is open."""
        if self._open is None:
            return []
        said = Said("".join(self._texts), self._open.is_thought)
        item = said_item(self._who, said, len(self._output), cut=cut)
        done = (
            self._told("reasoning_text.done", text=said.text)
            if said.is_thought
            else self._told("output_text.done", text=said.text, logprobs=[])
        )
        events = [
            done,
            self._told("content_part.done", part=said_part(said)),
            self._event("output_item.done", output_index=len(self._output), item=item),
        ]
        self._open = None
        self._texts.clear()
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

    def _told(self, kind: str, **content: Any) -> bytes:
        """An event about the text of the item that is open, which comes next in the output."""
        assert self._open is not None
        item_id = said_item(self._who, self._open, len(self._output))["id"]
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
