"""What the document allows is not refused as malformed, and what it refuses is refused."""

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.internal.conjecture import providers

from llmkit.server.wire.completions import CompletionRequest
from llmkit.server.wire.json_schema import TEXT, or_null
from llmkit.server.wire.openapi_bodies import as_decoded, body_schema
from llmkit.server.wire.openapi_sampling import Facts
from llmkit.server.wire.operations import OPERATIONS, Operation
from llmkit.server.wire.rerank import RERANK
from tests.server_checks.conftest import Shared, shared
from tests.server_checks.from_schema import Document

__all__ = ["shared"]

PATHS = [one.path for one in OPERATIONS if one.body is not None]
SAID = [{"role": "user", "content": "a"}]
LEAST: dict[str, Any] = {
    "/v1/completions": {"prompt": [5], "max_tokens": 1},
    "/v1/chat/completions": {"messages": SAID, "max_tokens": 1},
    "/v1/responses": {"input": "a", "max_output_tokens": 1},
    "/v1/responses/input_tokens": {"input": "a"},
    "/v1/embeddings": {"input": "a"},
    **{key: {"query": "a", "documents": ["b"]} for key in RERANK},
    "/completion": {"prompt": "a", "n_predict": 1},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 1},
    "/lora-adapters": [],
    "/v1/messages": {"messages": SAID, "max_tokens": 1},
    "/v1/messages/count_tokens": {"messages": SAID},
    "/tokenize": {"prompt": "a"},
    "/detokenize": {"tokens": [5]},
    "/apply-template": {"messages": SAID},
}
"""Of each path a body that asks for little."""
UNSAID = (
    r"tool_choice: no tool is called",
    r"min_tokens: from 0 to max_tokens",
    r"(logit_bias|stop_token_ids): token id \d+ is not in the model's vocabulary",
    r"previous_response_id: there is no response",
    r"(messages|input|input_prefix): .* and the context has",
    r"documents\[\d+\]: .* and the model judges",
    r"lora: (there is no adapter|one adapter twice)",
    r"messages\[\d+\]: an answer that is to be gone on with",
    r"(json_schema|regex|grammar|response_format|text\.format|tools|guided_\w+|structured_outputs).*",
)
"""What is refused for reasons that no schema has."""


@pytest.fixture(scope="module")
def document(shared: Shared) -> Document:
    """As the server sends it."""
    return Document(shared(shared.client.get("/openapi.json")).json())


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_asks_for_little_is_allowed_and_answered(
    path: str, shared: Shared, document: Document
) -> None:
    assert document.problem(path, LEAST[path]) is None
    assert shared.post(path, LEAST[path]).status_code == 200


@pytest.mark.parametrize("one", [one for one in OPERATIONS if one.body], ids=lambda one: one.path)
def test_of_a_field_that_is_not_narrowed_its_type_says_all(one: Operation, document: Document) -> None:
    assert one.body is not None
    plain = as_decoded(one.body, {})["properties"]
    body = document.body(one.documented_path)
    told = document.resolved(body["items"] if one.lists else body)["properties"]
    same = [schema for name, schema in told.items() if schema == plain[name]]
    kinds = {kind["type"] for schema in same for kind in schema.get("anyOf", [schema])}
    assert kinds <= {"string", "boolean", "null"}


def test_a_suffix_is_only_allowed_where_a_model_knows_marks_around_a_gap(
    shared: Shared, document: Document
) -> None:
    path, body = "/v1/completions", {"prompt": "a", "suffix": "b", "max_tokens": 1}
    assert document.allows(path, body) and shared.post(path, body).status_code == 200
    for other in ({"prompt": [1, 2]}, {"prompt": [[1], [2]]}, {"echo": True}):
        assert not document.allows(path, body | other)
        assert shared.post(path, body | other).status_code == 400
        assert document.allows(path, body | other | {"suffix": ""})
        assert shared.post(path, body | other | {"suffix": ""}).status_code == 200
    told = [
        body_schema(CompletionRequest, Facts(fills_gaps=fills))["properties"]["suffix"]
        for fills in (None, True, False)
    ]
    assert told == [or_null(TEXT), or_null(TEXT), {"enum": [None, ""]}]


@pytest.fixture
def same_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bodies in every run: Hypothesis takes constants out of whatever modules are loaded."""
    monkeypatch.setattr(providers, "_get_local_constants", providers.Constants)


@pytest.mark.usefixtures("same_bodies")
@pytest.mark.parametrize("path", [one for one in PATHS if LEAST[one]])
def test_what_the_document_allows_is_answered(path: str, shared: Shared, document: Document) -> None:
    statuses: list[int] = []

    @settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(document.bodies(path))
    def ask(body: dict[str, Any]) -> None:
        shorter = LEAST[path] | body
        if document.allows(path, shorter):
            body = shorter
        answer = shared.post(path, json.dumps(body).encode())
        statuses.append(answer.status_code)
        if answer.status_code != 200:
            told = answer.json()["error"]["message"]
            assert any(re.match(one, told) for one in UNSAID), f"{json.dumps(body)}\n{answer.text}"

    ask()
    assert statuses.count(200) > len(statuses) * 0.7
