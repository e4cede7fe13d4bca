"""POST /v1/responses of a router: what is kept stands here, so that any worker may write the next turn.

A worker gets the whole conversation, and is told to keep nothing. Servers that others run can be gone on from
in this way too, most of which keep nothing.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.errors import refused
from llmkit.server.front import HeldStream
from llmkit.server.gate import Caller
from llmkit.server.kept_responses import KeptResponses, keeps_nothing
from llmkit.server.router.proxy import forward, write_text
from llmkit.server.router.state import RouterState
from llmkit.server.sse import event
from llmkit.server.strict_json import decode
from llmkit.server.wire.input_items import Item, as_items

_EVENT = re.compile(rb"event: (?P<name>response\.(?P<kind>\w+))\r?\ndata: ?(?P<data>[^\r\n]*)\r?\n\r?\n")
_ENDS = ("completed", "incomplete")
_WITH_RESPONSE = ("created", "in_progress", "failed", *_ENDS)
_PLACE = re.compile(r"\binput\[(\d+)\]")


async def responses(request: Request) -> Response:
    """POST /v1/responses."""
    state: RouterState = request.app.state.serve
    caller: Caller = request.state.caller
    body = await request.body()
    turn = begin(state.kept, caller.tenant, decode(body, dict[str, Any]))
    if turn is None:
        return await write_text(request, body)
    answer = await write_text(request, turn.body)
    if isinstance(answer, HeldStream):
        answer.body_iterator = turn.events(answer.body_iterator)
        return answer
    return turn.whole(answer)


async def count_input(request: Request) -> Response:
    """POST /v1/responses/input_tokens."""
    state: RouterState = request.app.state.serve
    caller: Caller = request.state.caller
    body = await request.body()
    turn = begin(state.kept, caller.tenant, decode(body, dict[str, Any]))
    if turn is None:
        return await forward(request, body)
    return turn.in_own_places(await forward(request, turn.body))


def begin(kept: KeptResponses, tenant: str, content: dict[str, Any]) -> "Turn | None":
    """The turn that a body asks for; None: it is not of the form that it must have, which a worker will say.

    Raises:
        ApiError: 400: what it goes on from is not here, nothing goes on from it, or nothing is kept here.
    """
    told, previous, store = (content.get(name) for name in ("input", "previous_response_id", "store"))
    if not told and isinstance(previous, str):  # its worker would know nothing of what it goes on from
        raise refused("input", "is empty")
    if not told or not isinstance(previous, str | None) or not isinstance(store, bool | None):
        return None
    items = [{"role": "user", "content": told}] if isinstance(told, str) else told
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        return None
    if store and not kept.keeps:
        raise keeps_nothing()
    earlier = kept.conversation(tenant, previous)
    if earlier:
        content = content | {"input": [*earlier, *items]}
    content = {name: value for name, value in content.items() if name != "previous_response_id"}
    stores = kept.keeps and store is not False
    body = msgspec.json.encode(content | {"store": False})
    return Turn(kept, tenant, items, previous, stores, len(earlier), body)


@dataclass(frozen=True)
class Turn:
    """A request whose conversation is known here."""

    kept: KeptResponses
    tenant: str
    items: list[Item]
    """Its own."""
    previous: str | None
    stores: bool
    earlier: int
    """Items of the conversation that stand before its own."""
    body: bytes
    """As a worker gets it."""

    def whole(self, answer: Response) -> Response:
        """An answer in one piece, kept where it is one."""
        if answer.status_code == 200 and (response := _object(bytes(answer.body))):
            return _with_body(answer, msgspec.json.encode(self._told(response, is_over=True)))
        return self.in_own_places(answer)

    async def events(self, chunks: AsyncIterable[Any]) -> AsyncIterator[bytes]:
        """Events of a stream, each chunk of whole ones; the response is kept before its last one goes on."""
        async with aclosing(cast(Any, chunks)):
            async for chunk in chunks:
                yield _EVENT.sub(self._event, chunk)

    def _event(self, found: re.Match[bytes]) -> bytes:
        kind = found["kind"].decode()
        if kind not in _WITH_RESPONSE:
            return found[0]
        content = _object(found["data"])
        response = content.get("response")
        if not isinstance(response, dict):
            return found[0]
        told = self._told(response, is_over=kind in _ENDS)
        return event(found["name"].decode(), content | {"response": told})

    def _told(self, response: dict[str, Any], *, is_over: bool) -> dict[str, Any]:
        """A response as the client gets it, who knows nothing of what its worker was told."""
        is_whole = isinstance(response.get("id"), str) and isinstance(response.get("output"), list)
        response |= {"store": self.stores, "previous_response_id": self.previous}
        if is_over and is_whole and self.stores:
            own = as_items(self.items, response["id"])
            self.kept.keep(self.tenant, response, own, self.previous)
        return response

    def in_own_places(self, answer: Response) -> Response:
        """A refusal that names an item by its place in the client's own input; any other answer as it is."""

        def own(found: re.Match[str]) -> str:
            place = int(found[1]) - self.earlier
            return f"input[{place}]" if place >= 0 else "previous_response_id"

        if answer.status_code != 400 or not self.earlier:
            return answer
        return _with_body(answer, _PLACE.sub(own, bytes(answer.body).decode()).encode())


def _with_body(answer: Response, body: bytes) -> Response:
    answer.body = body
    answer.headers["content-length"] = str(len(body))
    return answer


def _object(content: bytes) -> dict[str, Any]:
    """A JSON object; an empty one where a server that is not ours says something else."""
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
