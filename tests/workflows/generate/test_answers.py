"""Answers to batch rows, field by field as OpenAI's reference has them."""

from typing import Any

import pytest

from llmkit.engine.completion import Completion
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn, Request, Scored
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate.answers import answer, refusal
from llmkit.workflows.generate.batch import CHAT, TEXT, Call, RefusedError
from llmkit.workflows.generate.row import Row


def _answer(tokenizer: Tokenizer, url: str, echo: bool = False, prefill: str = "", **sampling: Any) -> Any:
    call = Call("q1", "k", "f:1", url, "run", echo)
    scored = [Scored(104, -0.5), Scored(105, float("-inf"))]
    drawn = (
        *(Drawn(one.id, None, one, (scored[0],)) for one in scored),
        Drawn(256, "stop", Scored(256, -1.0)),
    )
    row = Row(Request((1, 2), SamplingConfig(**sampling)), {}, "Oh ", prefill)
    return answer(call, row, [Completion("hi", drawn, "stop")] * 2, tokenizer, 99)


def test_a_chat_completion_has_its_choices(byte_tokenizer: Tokenizer) -> None:
    message = {"role": "assistant", "content": "Ah hi", "refusal": None}
    choice = {"message": message, "logprobs": None, "finish_reason": "stop"}
    assert _answer(byte_tokenizer, CHAT, prefill="Ah ") == {
        "id": "batch_req_k",
        "custom_id": "q1",
        "response": {
            "status_code": 200,
            "request_id": "req_k",
            "body": {
                "id": "chatcmpl-k",
                "object": "chat.completion",
                "created": 99,
                "model": "run",
                "choices": [{"index": 0} | choice, {"index": 1} | choice],
                "usage": {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8},
                "system_fingerprint": None,
            },
        },
        "error": None,
    }


def test_logprobs_of_a_chat_are_of_the_tokens_in_the_text(byte_tokenizer: Tokenizer) -> None:
    body = _answer(byte_tokenizer, CHAT, logprobs=1)["response"]["body"]
    h = {"token": "h", "logprob": -0.5, "bytes": [104]}
    i = {"token": "i", "logprob": -9999.0, "bytes": [105]}
    assert body["choices"][1]["logprobs"] == {
        "content": [h | {"top_logprobs": [h]}, i | {"top_logprobs": [h]}],
        "refusal": None,
    }


@pytest.mark.parametrize(("echo", "text"), [(False, "hi"), (True, "Oh hi")])
def test_a_text_completion_has_columns_of_logprobs(byte_tokenizer: Tokenizer, echo: bool, text: str) -> None:
    body = _answer(byte_tokenizer, TEXT, echo, logprobs=1)["response"]["body"]
    assert (body["id"], body["object"]) == ("cmpl-k", "text_completion")
    assert body["choices"][0] == {
        "index": 0,
        "text": text,
        "logprobs": {
            "tokens": ["h", "i"],
            "token_logprobs": [-0.5, -9999.0],
            "top_logprobs": [{"h": -0.5}] * 2,
            "text_offset": [3, 4] if echo else [0, 1],
        },
        "finish_reason": "stop",
    }


def test_an_error_is_a_response_too() -> None:
    error = RefusedError("model: no", param="model", status=404, code="model_not_found")
    told = {
        "message": "model: no",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert refusal(Call("q", "k", "f:1", CHAT, "run"), error) == {
        "id": "batch_req_k",
        "custom_id": "q",
        "response": {"status_code": 404, "request_id": "req_k", "body": {"error": told}},
        "error": None,
    }
