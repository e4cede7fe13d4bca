"""`/v1/models` as Anthropic's clients read it: those that send `anthropic-version`.

Source: Anthropic's API reference, "List Models" and "Get a Model"; the types of its Python library.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import QueryParams

from llmkit.server.errors import refused

VERSION_HEADER = "anthropic-version"
DEFAULT_LIMIT = 20
MOST_LIMIT = 1000


def anthropic_model(card: Mapping[str, Any]) -> dict[str, Any]:
    """A model in Anthropic's words.

    Args:
        card: in OpenAI's, as `/v1/models` has it; of somebody else's server some of it may be missing.
    """
    longest = card.get("max_model_len")
    return {
        "type": "model",
        "id": card["id"],
        "display_name": card["id"],
        "created_at": datetime.fromtimestamp(card["created"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": longest,
        "max_tokens": longest,
    }


def anthropic_page(cards: Sequence[Mapping[str, Any]], query: QueryParams) -> dict[str, Any]:
    """A page of models.

    Args:
        cards: of all.
        query: `limit`, and `after_id` or `before_id`, which name a model; `lifecycle`: all here are active.

    Raises:
        ApiError: 400: no such limit or model, or both ids.
    """
    told = query.getlist("lifecycle") + query.getlist("lifecycle[]")
    cards = cards if not told or "active" in told else ()
    limit = _limit(query.get("limit"))
    after, before = _place(cards, query, "after_id"), _place(cards, query, "before_id")
    if after is not None and before is not None:
        raise refused("before_id", "contradicts after_id")
    if before is not None:
        page, has_more = cards[max(0, before - limit) : before], before > limit
    else:
        start = 0 if after is None else after + 1
        page, has_more = cards[start : start + limit], start + limit < len(cards)
    return {
        "data": [anthropic_model(card) for card in page],
        "has_more": has_more,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def _limit(told: str | None) -> int:
    if told is None:
        return DEFAULT_LIMIT
    if not told.isascii() or not told.isdigit() or not 1 <= int(told[:9]) <= MOST_LIMIT:
        raise refused("limit", f"from 1 to {MOST_LIMIT:,} (found {told[:20]!r})")
    return int(told)


def _place(cards: Sequence[Mapping[str, Any]], query: QueryParams, name: str) -> int | None:
    """Of the model that a parameter names; None: it is not there."""
    wanted = query.get(name)
    if not wanted:
        return None
    found = next((place for place, card in enumerate(cards) if card["id"] == wanted), None)
    if found is None:
        raise refused(name, f"there is no model {wanted[:100]!r}")
    return found


def models_answer(
    cards: Sequence[Mapping[str, Any]], headers: Mapping[str, str], query: QueryParams
) -> dict[str, Any]:
    """The list, in the words of who asks.

    Raises:
        ApiError: see `anthropic_page`.
    """
    if VERSION_HEADER in headers:
        return anthropic_page(cards, query)
    return {"object": "list", "data": cards}


def model_answer(card: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, Any]:
    """One model, in the words of who asks."""
    return anthropic_model(card) if VERSION_HEADER in headers else card
