"""Anthropic's events: blocks numbered, text closed before a call, the end with its reason."""

import json

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Answered, Piece, ToolCall, Usage
from llmkit.server.anthropic_stream import AnthropicStream
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError

ASK = Ask(kind="chat", model="m", sampling=SamplingConfig(), messages=({"role": "user", "content": "a"},))


def names(events: list[bytes]) -> list[str]:
    return [one.split(b"\n")[0].removeprefix(b"event: ").decode() for one in events]


def test_text_and_calls_are_blocks_of_their_own() -> None:
    stream, usage = AnthropicStream(Answered("msg_1", 0, "m", None), ASK), Usage(10, 4, 3)
    call = ToolCall(0, "call_1", "add", '{"a":1}')
    events = stream.begin(usage)
    events += stream.piece(Piece(0, "so "), usage) + stream.piece(Piece(0, "on"), usage)
    events += stream.piece(Piece(0, calls=(call,)), usage)
    events += stream.piece(Piece(0, finish="tool_calls"), usage) + stream.end(usage)
    assert names(events) == [
        *("message_start", "ping", "content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    told = [json.loads(one.split(b"data: ")[1]) for one in events]
    assert [one["index"] for one in told if "index" in one] == [0, 0, 0, 0, 1, 1, 1]
    assert told[-2]["delta"]["stop_reason"] == "tool_use"
    assert told[0]["message"]["usage"]["input_tokens"] == 6 and told[-2]["usage"]["output_tokens"] == 3


def test_a_failure_is_an_error_event() -> None:
    stream = AnthropicStream(Answered("msg_1", 0, "m", None), ASK)
    assert names(stream.failed(ApiError(503, "full"))) == ["error"]


def test_thoughts_are_a_block_of_their_own_with_a_signature_of_nobody() -> None:
    stream, usage = AnthropicStream(Answered("msg_1", 0, "m", None), ASK), Usage()
    pieces = [Piece(0, thought="I "), Piece(0, thought="add."), Piece(0, "Seven."), Piece(0, finish="stop")]
    events = [one for piece in pieces for one in stream.piece(piece, usage)] + stream.end(usage)
    told = [json.loads(one.split(b"data: ")[1]) for one in events]
    blocks = [one["content_block"] for one in told if one["type"] == "content_block_start"]
    assert blocks == [{"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": ""}]
    deltas = [(one["index"], *one["delta"].values()) for one in told if one["type"] == "content_block_delta"]
    assert deltas == [
        (0, "thinking_delta", "I "),
        (0, "thinking_delta", "add."),
        (0, "signature_delta", ""),
        (1, "text_delta", "Seven."),
    ]
    assert names(events).count("content_block_stop") == 2
