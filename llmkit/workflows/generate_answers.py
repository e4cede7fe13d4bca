"""Answers to rows of OpenAI's batch files: a line of its output file each.

Source: OpenAI's API reference, "Batch: The request output object", "The chat completion object", "The
completion object".
"""

from collections.abc import Sequence
from typing import Any

from llmkit.engine.completion import Completion
from llmkit.engine.request import Drawn, Scored
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate_batch import Call, RefusedError
from llmkit.workflows.generate_results import usage
from llmkit.workflows.generate_rows import Row

_LEAST_LOGPROB = -9999.0
"""What OpenAI writes for a probability of zero, which JSON has no logarithm of."""


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
    logprobs = None
    if row.request.sampling.logprobs is not None:
        content = [
            _spelled(token.score, tokenizer)
            | {"top_logprobs": [_spelled(other, tokenizer) for other in token.top]}
            for token in one.drawn
            if token.is_text and token.score is not None
        ]
        logprobs = {"content": content, "refusal": None}
    message = {"role": "assistant", "content": row.prefill + (one.text or ""), "refusal": None}
    return {"index": number, "message": message, "logprobs": logprobs, "finish_reason": one.finish}


def _text_choice(call: Call, row: Row, one: Completion, number: int, tokenizer: Tokenizer) -> dict[str, Any]:
    logprobs = None
    if row.request.sampling.logprobs is not None:
        logprobs = _columns([token for token in one.drawn if token.is_text], tokenizer)
    text = (row.text or "" if call.echo else "") + (one.text or "")
    return {"index": number, "text": text, "logprobs": logprobs, "finish_reason": one.finish}


def _columns(drawn: Sequence[Drawn], tokenizer: Tokenizer) -> dict[str, Any]:
    """Log probabilities as text completions have them: a list for each kind of figure."""
    columns: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    offset = 0
    for token in drawn:
        assert token.score is not None
        name = _text_of(token.score, tokenizer)
        top = {_text_of(one, tokenizer): _logprob(one) for one in token.top}
        for column, value in zip(columns, (name, _logprob(token.score), top, offset), strict=True):
            columns[column].append(value)
        offset += len(name)
    return columns


def _spelled(token: Scored, tokenizer: Tokenizer) -> dict[str, Any]:
    content = list(tokenizer.token_bytes(token.id))
    return {"token": _text_of(token, tokenizer), "logprob": _logprob(token), "bytes": content}


def _text_of(token: Scored, tokenizer: Tokenizer) -> str:
    return tokenizer.token_bytes(token.id).decode(errors="replace")


def _logprob(token: Scored) -> float:
    return max(token.logprob, _LEAST_LOGPROB)
