"""Responses that a server keeps for a while: clients go on from one by its id, or ask for it again.

Each key has its own, and room of its own: no key sees another's, or drives it out. Those that were not used
for the longest go first. What a conversation goes on from counts as used, so that it stays, and goes, as a
whole. They are in memory: where the server ends, they do.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from llmkit.server.config import ServeConfig
from llmkit.server.errors import ApiError, refused
from llmkit.server.front import MOST_BODY_BYTES
from llmkit.server.wire.input_items import Item

_OBJECT_BYTES = 512
"""Of one, beside its texts."""


@dataclass
class _Kept:
    response: bytes
    """JSON, as are the items."""
    items: bytes
    """Of its own request alone."""
    previous: str | None
    used: float

    @property
    def size(self) -> int:
        return len(self.response) + len(self.items) + _OBJECT_BYTES


class KeptResponses:
    """Of one server."""

    def __init__(
        self,
        most_bytes: int = ServeConfig.response_bytes,
        seconds: float = ServeConfig.response_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            most_bytes: of each key's; 0: nothing is kept.
            seconds: from the last use of one until it goes.
            clock: seconds that never go back.
        """
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        self._by_tenant: dict[str, OrderedDict[str, _Kept]] = {}
        self._sizes: dict[str, int] = {}

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return self._most_bytes > 0

    def keep(
        self, tenant: str, response: dict[str, Any], items: Sequence[Item], previous: str | None
    ) -> None:
        """Keep a response under its id.

        Args:
            tenant: whose it is.
            response: as the client gets it.
            items: of its own request.
            previous: the id of the response that it goes on from; None: it goes on from none.
        """
        if not self.keeps:
            return
        self._forget_old()
        encode = msgspec.json.encode
        one = _Kept(encode(response), encode(items), previous, self._clock())
        own = self._by_tenant.setdefault(tenant, OrderedDict())
        self._drop(tenant, response["id"])
        own[response["id"]] = one
        self._sizes[tenant] = self._sizes.get(tenant, 0) + one.size
        while own and self._sizes[tenant] > self._most_bytes:
            self._drop(tenant, next(iter(own)))

    def response(self, tenant: str, response_id: str) -> dict[str, Any]:
        """A response, as its client got it.

        Raises:
            ApiError: 404: there is none of this id, of this key.
        """
        self._forget_old()
        found = self._used(tenant, response_id)
        if found is None:
            raise ApiError(404, _gone(response_id), code="not_found")
        return msgspec.json.decode(found.response, type=dict[str, Any])

    def input_items(self, tenant: str, response_id: str) -> list[Item]:
        """All that was read before a response was written: what it goes on from, and its own request.

        Raises:
            ApiError: 404: there is none of this id, or one that it goes on from is gone.
        """
        chain, gone = self._chain(tenant, response_id)
        if gone is not None:
            what = _gone(gone) if not chain else f"{_gone(gone)}, from which {response_id} goes on"
            raise ApiError(404, what, code="not_found")
        *before, last = chain
        return [item for text in (*_said(before), last.items) for item in _decoded(text)]

    def conversation(self, tenant: str, response_id: str | None) -> list[Item]:
        """The items of a conversation up to a response, and of this itself: what the next turn goes on from.

        Args:
            tenant: whose it is.
            response_id: as a request names it; None: it goes on from none.

        Raises:
            ApiError: 400: it is not here, or one that it goes on from itself is not; 413: it is too long.
        """
        if response_id is None:
            return []
        chain, gone = self._chain(tenant, response_id)
        if gone is not None:
            kept = "; send the conversation as input" if self.keeps else ": this server keeps none"
            problem = f"previous_response_id: {_gone(gone)}{kept}"
            raise ApiError(400, problem, code="previous_response_not_found", param="previous_response_id")
        texts = list(_said(chain))
        if sum(map(len, texts)) > MOST_BODY_BYTES:  # as its client could not send it either
            problem = f"previous_response_id: the conversation has more than {MOST_BODY_BYTES:,} bytes"
            raise ApiError(413, problem, code="request_too_large", param="previous_response_id")
        return [item for text in texts for item in _decoded(text)]

    def delete(self, tenant: str, response_id: str) -> None:
        """Forget one, and with it what conversations that go on from it can know of it.

        Raises:
            ApiError: 404: there is none of this id, of this key.
        """
        self._forget_old()
        if self._used(tenant, response_id) is None:
            raise ApiError(404, _gone(response_id), code="not_found")
        self._drop(tenant, response_id)

    def _chain(self, tenant: str, response_id: str) -> tuple[list[_Kept], str | None]:
        """The responses of a conversation up to one, and the id of the first that is missing before them."""
        self._forget_old()
        chain: dict[str, _Kept] = {}
        wanted: str | None = response_id
        while wanted is not None and wanted not in chain:  # ids of servers that are not ours may come again
            found = self._used(tenant, wanted)
            if found is None:
                break
            chain[wanted] = found
            wanted = found.previous
        return list(reversed(chain.values())), wanted

    def _used(self, tenant: str, response_id: str) -> _Kept | None:
        own = self._by_tenant.get(tenant, OrderedDict())
        found = own.get(response_id)
        if found is not None:
            found.used = self._clock()
            own.move_to_end(response_id)
        return found

    def _forget_old(self) -> None:
        """Of every key: what nobody asks for any more goes too."""
        until = self._clock() - self._seconds
        for tenant, own in self._by_tenant.items():
            while own and next(iter(own.values())).used < until:
                self._drop(tenant, next(iter(own)))

    def _drop(self, tenant: str, response_id: str) -> None:
        one = self._by_tenant[tenant].pop(response_id, None)
        if one is not None:
            self._sizes[tenant] -= one.size


def keeps_nothing() -> ApiError:
    """What is said where something is to be kept and nothing is."""
    return refused("store", "this server keeps no responses", code="unsupported_parameter")


class _Answer(msgspec.Struct):
    output: msgspec.Raw


def _said(chain: Iterable[_Kept]) -> Iterator[bytes]:
    """What was asked and answered, each as JSON: of a response, tools and instructions are no part of it."""
    for one in chain:
        yield one.items
        yield bytes(msgspec.json.decode(one.response, type=_Answer).output)


def _decoded(items: bytes) -> list[Item]:
    return msgspec.json.decode(items, type=list[Item])


def _gone(response_id: str) -> str:
    return f"there is no response {response_id!r} here, or no longer"
