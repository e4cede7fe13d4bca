"""Bodies of rankings, without a server."""

from typing import Any

import msgspec
import pytest

from llmkit.server.answer import Usage
from llmkit.server.errors import ApiError
from llmkit.server.wire.rerank import RerankRequest, read_rerank, rerank_object


def body(**fields: Any) -> RerankRequest:
    return msgspec.convert(
        {"query": "q", "documents": ["a", {"text": "b", "id": 7}], **fields}, RerankRequest
    )


def test_documents_are_texts_or_objects_with_one_and_all_come_back_unless_fewer_are_asked_for() -> None:
    ask = read_rerank(body(model="m:dutch"))
    assert (ask.documents, ask.most, ask.adapter) == (("a", "b"), 2, "dutch")
    assert [read_rerank(body(top_n=most)).most for most in (1, 2, 10**9)] == [1, 2, 2]
    assert [read_rerank(body(max_tokens_per_doc=most)).longest for most in (None, 7)] == [None, 7]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": " \n"}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["a"] * 2049}, "documents"),
        ({"documents": ["a", {"title": "b"}]}, "documents[1]"),
        ({"documents": [{"text": 3}]}, "documents[0]"),
        ({"top_n": 0}, "top_n"),
        ({"max_tokens_per_doc": 0}, "max_tokens_per_doc"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_followed_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_rerank(body(**fields))
    assert (caught.value.status, caught.value.param) == (400, param)


def test_documents_come_back_as_objects_where_that_is_asked_for() -> None:
    ranked, usage = [(1, 0.75), (0, 0.5)], Usage(prompt_tokens=9)
    plain = rerank_object("rerank-1", "m", ranked, body(), usage)
    assert plain["results"] == [
        {"index": 1, "relevance_score": 0.75},
        {"index": 0, "relevance_score": 0.5},
    ]
    assert plain["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    whole = rerank_object("rerank-1", "m", ranked, body(return_documents=True), usage)
    assert [one["document"] for one in whole["results"]] == [{"text": "b", "id": 7}, {"text": "a"}]
