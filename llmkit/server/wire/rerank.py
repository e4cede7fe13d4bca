"""`/v1/rerank`: documents by how well they answer a query.

Sources: Jina's and Cohere's API references, "Rerank"; vLLM, entrypoints/pooling/score; llama.cpp,
tools/server/README.md, which all take and tell the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from llmkit.server.answer import Usage
from llmkit.server.errors import refused

RERANK = ("/v1/rerank", "/rerank", "/v2/rerank")
"""Jina's path and Cohere's older one, what llama.cpp and vLLM have beside it, Cohere's newer one."""
MOST_DOCUMENTS = 2048


class RerankRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body."""

    query: str
    documents: list[str | dict[str, Any]]
    model: str | None = None
    top_n: int | None = None
    max_tokens_per_doc: int | None = None
    return_documents: bool | None = None
    user: str | None = None
    priority: int | None = None
    cache_salt: str | None = None


@dataclass(frozen=True)
class RerankAsk:
    """What is asked for."""

    query: str
    documents: tuple[str, ...]
    """The text of each."""
    adapter: str | None
    """Which changes the model; None: none does."""
    most: int
    """Of them, that come back."""
    longest: int | None = None
    """Tokens of a document that are judged; None: as many as the model reads."""


def read_rerank(told: RerankRequest) -> RerankAsk:
    """What a body asks for.

    Raises:
        ApiError: 400, naming the parameter that cannot be followed.
    """
    if not told.query.strip():
        raise refused("query", "is empty")
    if not 1 <= (count := len(told.documents)) <= MOST_DOCUMENTS:
        raise refused("documents", f"1 to {MOST_DOCUMENTS:,} of them (found {count:,})")
    if told.top_n is not None and told.top_n < 1:
        raise refused("top_n", f"1 or more (found {told.top_n})")
    if told.max_tokens_per_doc is not None and told.max_tokens_per_doc < 1:
        raise refused("max_tokens_per_doc", f"1 or more (found {told.max_tokens_per_doc})")
    return RerankAsk(
        query=told.query,
        documents=tuple(_text(one, place) for place, one in enumerate(told.documents)),
        adapter=(told.model or "").partition(":")[2] or None,
        most=count if told.top_n is None else min(told.top_n, count),
        longest=told.max_tokens_per_doc,
    )


def _text(document: str | dict[str, Any], place: int) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise refused(f"documents[{place}]", 'a text, or an object with its "text"')
    return text


def rerank_object(
    own_id: str, model: str, ranked: Sequence[tuple[int, float]], told: RerankRequest, usage: Usage
) -> dict[str, Any]:
    """The answer.

    Args:
        own_id: of the answer.
        model: that judged.
        ranked: places among the documents and their scores, the best first.
        told: the body, whose documents come back where it asks for that.
        usage: tokens that were read.
    """
    results: list[dict[str, Any]] = [{"index": place, "relevance_score": score} for place, score in ranked]
    if told.return_documents:
        for one in results:
            document = told.documents[one["index"]]
            one["document"] = {"text": document} if isinstance(document, str) else document
    return {
        "id": own_id,
        "object": "list",
        "model": model,
        "results": results,
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens},
    }
