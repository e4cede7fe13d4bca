"""What a response was asked, as `/v1/responses/ID/input_items` lists it.

Source: OpenAI's API reference, "Responses".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from llmkit.server.errors import refused

Item = dict[str, Any]
MOST_LISTED = 100
LISTED = 20
_PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "function_call_output": "fco_"}
NO_EXTRAS = ("reasoning.encrypted_content",)
"""What `include` may ask for, which is never there."""


class InputItems(msgspec.Struct):
    """A page of what a response was asked."""

    object: Literal["list"]
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputTokens(msgspec.Struct):
    """How many tokens a response would read."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class DeletedResponse(msgspec.Struct):
    """A response that is kept no longer."""

    id: str
    object: Literal["response"]
    deleted: bool


def as_items(told: str | Sequence[Item], response_id: str) -> list[Item]:
    """The input of a request, each item with a type and an id.

    Args:
        told: the body's `input`.
        response_id: of the answer to it.
    """
    if isinstance(told, str):
        told = [{"role": "user", "content": told}]
    return [_as_item(one, f"{response_id.removeprefix('resp_')}_in{place}") for place, one in enumerate(told)]


def page_of(items: Sequence[Item], query: Mapping[str, str]) -> InputItems:
    """Some of the items, as a page of OpenAI's lists.

    Args:
        items: in their order.
        query: the request's `after`, `limit` and `order`, newest first where it does not say.

    Raises:
        ApiError: 400, naming the parameter.
    """
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise refused("order", f'"asc" or "desc" (found {order!r})')
    limit = query.get("limit", str(LISTED))
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 9 and 1 <= int(limit) <= MOST_LISTED):
        raise refused("limit", f"from 1 to {MOST_LISTED} (found {limit!r})")
    ordered = list(items) if order == "asc" else list(reversed(items))
    begin = 0
    if (after := query.get("after")) is not None:
        places = [place for place, one in enumerate(ordered) if one.get("id") == after]
        if not places:
            raise refused("after", f"no item is called {after!r}")
        begin = places[0] + 1
    page = ordered[begin : begin + int(limit)]
    first_id, last_id = (page[0].get("id"), page[-1].get("id")) if page else (None, None)
    return InputItems("list", page, first_id, last_id, has_more=begin + len(page) < len(ordered))


def check_query(query: Mapping[str, str], known: Sequence[str]) -> None:
    """Refuse what is asked for beside a response and is not done here.

    Args:
        query: of the request's address.
        known: parameters that are followed.

    Raises:
        ApiError: 400, naming the parameter.
    """
    for name, value in query.items():
        if name in known or (name == "stream" and value.lower() == "false"):
            continue
        if name in ("include", "include[]") and value in NO_EXTRAS:
            continue
        raise refused(name, "is not done here", code="unsupported_parameter")


def _as_item(told: Item, own_id: str) -> Item:
    kind = told.get("type", "message")
    prefix = _PREFIXES.get(str(kind), "item_")
    item = {"type": kind, "id": f"{prefix}{own_id}", "status": "completed"}
    item |= {name: value for name, value in told.items() if value is not None}
    if isinstance(content := item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        item["content"] = [{"type": part, "text": content}]
    return item
