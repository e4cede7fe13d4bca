"""Answers to rows of OpenAI's batch files: a line of its output file each.

Source: OpenAI's API reference, "Batch: The request output object", "The chat completion object", "The
completion object".
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmkit.engine.completion import Completion
from llmkit.server.answer import TokenScore, ToolCall
from llmkit.server.replies import spelled
from llmkit.server.token_places import TokenPlaces
from llmkit.server.wire.chat import message_object, score_content
from llmkit.server.wire.completions import score_columns
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate.batch import Call, RefusedError
from llmkit.workflows.generate.results import usage
from llmkit.workflows.generate.row import Row


def answer(
    call: Call, row: Row, completions: Sequence[Completion], tokenizer: Tokenizer, created: int
) -> dict[str, Any]:
    """The answer that a row asked for.

    Args:
        call: who asked.
        row: the row.
        completions: as many as it asked for, in order.
        tokenizer: spells tokens.
        created: seconds since 1970.
    """
    choice = _chat_choice if call.is_chat else _text_choice
    body = {
        "id": f"{'chatcmpl' if call.is_chat else 'cmpl'}-{call.key}",
        "object": "chat.completion" if call.is_chat else "text_completion",
        "created": created,
        "model": call.model,
        "choices": [choice(call, row, one, number, tokenizer) for number, one in enumerate(completions)],
        "usage": usage(completions, row),
        "system_fingerprint": None,
    }
    return _line(call, 200, body)


def refusal(call: Call, error: RefusedError) -> dict[str, Any]:
    """The answer to a row that cannot be done."""
    told = {"message": error.problem, "type": "invalid_request_error"}
    return _line(call, error.status, {"error": {**told, "param": error.param, "code": error.code}})


def _line(call: Call, status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"batch_req_{call.key}",
        "custom_id": call.custom_id,
        "response": {"status_code": status, "request_id": f"req_{call.key}", "body": body},
        "error": None,
    }


def _chat_choice(call: Call, row: Row, one: Completion, number: int, tokenizer: Tokenizer) -> dict[str, Any]:
    scores = _scores(call, row, one, tokenizer)
    logprobs = None if scores is None else score_content(scores)
    text, thought = row.prefill + (one.text or ""), ""
    calls, finish = list[ToolCall](), str(one.finish)
    if call.calls is not None:
        read = call.calls.read(one, row.request, tokenizer, prompt=row.text or "", prefill=row.prefill)
        text, thought = read.text, read.thought
        for place, each in enumerate(read.calls):  # ids by the row: the same one has the same answer
            calls.append(ToolCall(place, f"call_{call.key}_{number}_{place}", each.name, each.arguments))
        if calls and (finish == "stop" or not call.calls.ask.parallel_tool_calls):
            finish = "tool_calls"
    message = message_object(text, calls, thought)
    return {"index": number, "message": message, "logprobs": logprobs, "finish_reason": finish}


def _text_choice(call: Call, row: Row, one: Completion, number: int, tokenizer: Tokenizer) -> dict[str, Any]:
    scores = _scores(call, row, one, tokenizer)
    logprobs = None if scores is None else score_columns(scores)
    text = (row.text or "" if call.echo else "") + (one.text or "")
    return {"index": number, "text": text, "logprobs": logprobs, "finish_reason": one.finish}


def _scores(call: Call, row: Row, one: Completion, tokenizer: Tokenizer) -> list[TokenScore] | None:
    """Of the tokens of a text, where they were asked for."""
    if row.request.sampling.logprobs is None:
        return None
    echoed = row.text or "" if call.echo else ""
    places = TokenPlaces(one.text or "", tokenizer)
    return [
        replace(spelled(token.score, tokenizer, token.top), offset=len(echoed) + places.place(token.id))
        for token in one.drawn
        if token.is_text and token.score is not None
    ]
