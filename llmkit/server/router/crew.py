"""The processes behind one address, kept alive for us by somebody else: Ray Serve's replicas.

Requests go to the address, and somebody else chooses who answers. What all of them must be told, or each be
asked, goes here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmkit.server.adapters import AdapterSpec


@dataclass(frozen=True)
class Reply:
    """What one process answered."""

    who: str
    status: int
    content: bytes


class Crew(Protocol):
    """All of them."""

    async def ask(self, method: str, path: str, content: bytes | None, *, seconds: float) -> list[Reply]:
        """What each of those that live answers; at least one does.

        Args:
            method: of HTTP.
            path: what each is asked.
            content: a body; None: there is none.
            seconds: to wait at most.

        Raises:
            ApiError: 503: none answers, or not all that live do in time.
        """

    async def keep(self, adapters: Sequence[AdapterSpec]) -> None:
        """Have these adapters, and no others, in each of them and in those that come later.

        Raises:
            LlmkitError: one that lives cannot have them.
        """

    async def replace(self, path: str | None, version: str | None) -> None:
        """Put other weights in the place of theirs, one by one; requests under way end as they are.

        Args:
            path: of the weights; None: the same place.
            version: their name; None: the same.

        Raises:
            LlmkitError: they cannot be served; the old ones go on.
        """

    async def end(self) -> None:
        """End them all."""
