"""Who asks, and whether there is a place for it: what every request passes before the engine sees it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from typing import Protocol

from llmkit.server.answer import Usage
from llmkit.server.errors import not_an_admin


@dataclass(frozen=True)
class Caller:
    """Whose request it is."""

    name: str = ""
    """Of the key, for logs and metrics; empty where the server has no keys."""
    tenant: str = ""
    """Caches are kept apart by it, and turns are taken by it."""
    models: frozenset[str] | None = None
    """Models and adapters that it may ask for; None: all."""
    lowest_priority: int = 0
    """The most urgent that its requests may be: lower numbers go first."""
    is_admin: bool = False

    def check_admin(self) -> None:
        """Refuse a key that is no admin's what tells of every key, or changes it; without keys there is none.

        Raises:
            ApiError: 403.
        """
        if self.name and not self.is_admin:
            raise not_an_admin()


@dataclass
class Slot:
    """A request's place. What it came to take is written here as it goes."""

    usage: Usage = field(default_factory=Usage)
    first_token_seconds: float | None = None
    """From the request's arrival."""
    answers: int = 1
    """That are written at once."""
    tool_calls: int = 0
    """That the server made."""
    finished: str | None = None
    """How its answers ended; None while they have not."""
    error: str | None = None
    """The code of what broke its stream off, on our side."""

    def broke(self, code: str | None) -> None:
        """Its stream ends with an error, whatever was written."""
        self.finished, self.error = "error", code


@dataclass(frozen=True)
class Sizes:
    """How much a request asks for; where its prompts are not encoded yet, what is known so far: the least."""

    prompt_tokens: int = 0
    """Of all its prompts, each once."""
    max_tokens: int = 0
    """That may be drawn, of all its answers."""
    answers: int = 0
    """Texts at once; 0: the model is not asked."""
    samples: int = 1
    """Of them, those of each prompt, all of which read it."""

    @property
    def tokens(self) -> int:
        """In the queue, where each answer counts with the prompt that it reads."""
        return self.prompt_tokens * self.samples + self.max_tokens


NOTHING = Sizes()
"""Of a request that only looks at tokens."""


class Gate(Protocol):
    """Decides who comes in."""

    def identify(self, key: str | None) -> Caller:
        """Whose key it is.

        Raises:
            ApiError: 401: nobody's.
        """

    def begin(self, caller: Caller, sizes: Sizes = NOTHING) -> AbstractContextManager[None]:
        """Count a request against its key before anything is done for it; under way until the context ends.

        Args:
            caller: who asks.
            sizes: for how much, so far as it is known.

        Raises:
            ApiError: 429 or 503 with the time after which it may go well.
        """

    def enter(self, caller: Caller, sizes: Sizes, *, model: str) -> AbstractAsyncContextManager[Slot]:
        """A place for a request that has begun, held until the context ends; its tokens are charged then.

        Args:
            caller: who asks.
            sizes: for how much.
            model: of what.

        Raises:
            ApiError: 429 or 503 with the time after which it may go well.
        """


class OpenGate:
    """Lets everybody in, all as one caller: a server for one person, or behind a router that has the keys."""

    def identify(self, key: str | None) -> Caller:
        """The one caller."""
        return Caller()

    @contextmanager
    def begin(self, caller: Caller, sizes: Sizes = NOTHING) -> Iterator[None]:
        """Always."""
        yield

    @asynccontextmanager
    async def enter(self, caller: Caller, sizes: Sizes, *, model: str) -> AsyncIterator[Slot]:
        """A place, always."""
        yield Slot()
