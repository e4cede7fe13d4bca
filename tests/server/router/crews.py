"""A crew for tests: processes of this one, asked as Ray Serve's replicas are."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from llmkit.errors import LlmkitError
from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.server.handoff import WorkerGate
from llmkit.server.router.crew import Reply
from llmkit.server.router.fleet import Group, Version
from llmkit.server.router.probes import ask_cards, headers_of
from llmkit.server.router.worker import Worker
from tests.server.conftest import Serving

SECRET = "word"


class MadeCrew:
    """Replicas by their names, each a server of this process.

    Attributes:
        clients: of them.
        kept: adapters that those to come will have.
        refuses: what `keep` raises.
    """

    def __init__(self, clients: dict[str, httpx.AsyncClient]) -> None:
        self.clients = clients
        self.kept: list[tuple[AdapterSpec, ...]] = []
        self.refuses: LlmkitError | None = None
        self.is_lost = False

    async def ask(self, method: str, path: str, content: bytes | None, *, seconds: float) -> list[Reply]:
        """Ask each."""
        if self.is_lost:
            raise ApiError(503, "nobody answers", code="worker_lost")
        head = {**headers_of(Worker("", next(iter(self.clients.values())), secret=SECRET))}
        told = []
        for who, client in self.clients.items():
            answer = await client.request(method, path, content=content, headers=head)
            told.append(Reply(who, answer.status_code, answer.content))
        return told

    async def keep(self, adapters: Sequence[AdapterSpec]) -> None:
        """Remember them."""
        if self.refuses is not None:
            raise self.refuses
        self.kept.append(tuple(adapters))

    async def replace(self, path: str | None, version: str | None) -> None:
        """Nothing of the kind."""
        raise AssertionError

    async def end(self) -> None:
        """Nothing of the kind."""
        raise AssertionError


@contextlib.asynccontextmanager
async def crew_of(serving: Serving, readers: Sequence[Any]) -> AsyncIterator[tuple[Group, MadeCrew]]:
    """A model whose replicas, one for each reader, are behind one address that counts as two workers."""
    async with contextlib.AsyncExitStack() as stack:
        clients = {}
        for number, reader in enumerate(readers):
            more = {"read": reader, "behind_router": True, "gate": WorkerGate(SECRET)}
            clients[f"host/{number}"] = await stack.enter_async_context(serving(**more))
        crew = MadeCrew(clients)
        workers = [
            Worker(f"ray/{number}", clients["host/0"], model="tiny", is_own=False, secret=SECRET, crew=crew)
            for number in range(2)
        ]
        for worker in workers:
            worker.up(await ask_cards(worker, 5.0))
        yield Group("tiny", {"": Version("", 1.0, workers, "path")}), crew
