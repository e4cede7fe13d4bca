"""Answers as they come are those that the document describes, and have nothing that it does not."""

from typing import Any

import msgspec
import pytest

from llmkit.server.wire.operations import OPERATIONS, Operation
from llmkit.server.wire.rerank import RERANK
from tests.server_checks.conftest import Shared, shared

__all__ = ["shared"]

SAID = [{"role": "user", "content": "a"}]
PROMPT = {"prompt": [5, 6], "max_tokens": 2}
RANK = {"query": "a", "documents": ["b", {"text": "c", "id": 1}]}
ASKED: dict[str, list[dict[str, Any]]] = {
    "/v1/completions": [PROMPT, {**PROMPT, "logprobs": 2, "echo": True}, {**PROMPT, "regex": "a"}],
    "/v1/chat/completions": [{"messages": SAID, "max_tokens": 2, "logprobs": True, "top_logprobs": 1}],
    "/v1/responses": [{"input": "a", "max_output_tokens": 2}, {"input": "a", "text": {"format": None}}],
    "/v1/responses/input_tokens": [{"input": "a"}],
    "/v1/embeddings": [{"input": "a"}, {"input": ["a", "b"], "encoding_format": "base64"}],
    **{key: [RANK, {**RANK, "return_documents": True}] for key in RERANK},
    "/completion": [{"prompt": "a", "n_predict": 1}],
    "/infill": [{"input_prefix": "a", "input_suffix": "b", "n_predict": one} for one in (0, 2)],
    "/v1/messages": [{"messages": SAID, "max_tokens": 2}],
    "/v1/messages/count_tokens": [{"messages": SAID}],
    "/tokenize": [{"prompt": "a"}, {"content": "a", "with_pieces": True, "return_token_strs": True}],
    "/detokenize": [{"tokens": [5]}],
    "/apply-template": [{"messages": SAID}],
    "/v1/models/{name:path}": [{}],
}
TOLD = [one for one in OPERATIONS if one.answer is not None]


@pytest.mark.parametrize("one", TOLD, ids=lambda one: one.path)
def test_an_answer_is_what_the_document_says_and_has_no_more(one: Operation, shared: Shared) -> None:
    path = one.path.replace("{name:path}", "tiny").replace("{response_id:response}", shared.kept_id())
    for body in ASKED.get(one.path, [{}]):
        answer = (
            shared.post(path, [] if one.lists else body)
            if one.body
            else shared(shared.client.request(one.method, path))
        )
        assert answer.status_code == 200, answer.text
        assert one.answer is not None
        kind: Any = list[one.answer] if one.lists and not one.body else one.answer  # type: ignore[name-defined]
        told = msgspec.convert(answer.json(), kind, strict=True)
        assert msgspec.to_builtins(told) == answer.json()
