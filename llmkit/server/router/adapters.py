"""Adapters behind a router: loaded into every worker of a model or into none, and into those that come later.

The router remembers what was asked for: a worker that is started again gets it before it gets a request.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from typing import Any

import httpx
import msgspec

from llmkit.errors import ConfigError, LlmkitError
from llmkit.server.adapters import AdapterSpec, adapter_exists, no_adapter
from llmkit.server.errors import ApiError, as_api_error, refused
from llmkit.server.router.crew import Crew
from llmkit.server.router.fleet import Group, no_worker
from llmkit.server.router.probes import ask_cards
from llmkit.server.router.processes import once
from llmkit.server.router.worker import Worker
from llmkit.server.router.worker_adapters import (
    ASK_SECONDS,
    adapters_of,
    is_gone,
    load_into,
    unload_from,
)

Answer = list[dict[str, Any]] | ApiError
"""What each process of a worker said, or why it did not."""


class FleetAdapters:
    """The adapters of every model behind a router."""

    def __init__(self, at_start: Iterable[AdapterSpec] = ()) -> None:
        """
        Args:
            at_start: what every worker is started with.
        """
        self._at_start = {one.name: one for one in at_start}
        self._wanted: dict[str, dict[str, AdapterSpec]] = {}
        self._users: dict[str, _Users] = {}
        """By the name that clients write: `MODEL:ADAPTER`."""
        self._changing = asyncio.Lock()

    def of(self, model: str) -> dict[str, AdapterSpec]:
        """What a model's workers have, by name."""
        return self._wanted.setdefault(model, dict(self._at_start))

    @contextlib.contextmanager
    def held(self, name: str | None) -> Iterator[None]:
        """A request is under way: what it names is not unloaded before this ends, if an admin waits so long.

        Args:
            name: as the client wrote it.

        Raises:
            ApiError: 404: it is being unloaded.
        """
        if name is None or ":" not in name:
            yield
            return
        users = self._users.setdefault(name, _Users())
        if users.leaving:
            raise ApiError(
                404, f"model: there is no {name!r} here any more", code="model_not_found", param="model"
            )
        users.enter()
        try:
            yield
        finally:
            users.leave()
            if not users.count and not users.leaving:
                self._users.pop(name, None)

    async def load(self, group: Group, spec: AdapterSpec, *, replace: bool) -> dict[str, Any]:
        """Load an adapter into all workers of a model; where one cannot, none has it.

        Returns:
            What one of them answered, and how many they are.

        Raises:
            ApiError: 409: there is one of this name; 400: it cannot be read, or is another model's; 503: a
                worker does not answer.
        """
        async with self._changing:
            wanted = self.of(group.name)
            before = wanted.get(spec.name)
            if self._is_leaving(group.name, spec.name):
                raise _leaves(spec.name)
            if before is not None and not replace:
                raise adapter_exists(spec.name)
            workers = _workers(group)
            answers = await _all([load_into(worker, spec) for worker in workers])
            if not any(isinstance(one, ApiError) for one in answers):
                answers += await _all(_keep(workers, {**wanted, spec.name: spec}))
            if any(isinstance(one, ApiError) for one in answers):
                undo = [
                    unload_from(worker, spec.name) if before is None else load_into(worker, before)
                    for worker in workers  # of the one that failed too: it may have gone on
                ]
                await asyncio.gather(*undo, *_keep(workers, wanted), return_exceptions=True)
                raise _first_failure(workers, answers)
            wanted[spec.name] = spec
            await _learn(workers)
            told = _told(answers)
            return {**told[0], "workers": len(told)}

    async def unload(
        self, group: Group, name: str, *, wait_seconds: float, exclusive: asyncio.Lock
    ) -> dict[str, Any]:
        """Unload an adapter from all workers of a model; where one cannot, all keep it.

        New requests for it are refused at once; those under way are waited for. Those that still wait in the
        queue after that are refused too; those that are being answered end with it.

        Args:
            group: the model.
            name: of the adapter.
            wait_seconds: for requests under way.
            exclusive: held while workers are asked: none is added or taken away then.

        Raises:
            ApiError: 404: there is none of this name; 409: it is being unloaded; 503: a worker does not
                answer.
        """
        if name not in self.of(group.name):
            raise no_adapter(name)
        if self._is_leaving(group.name, name):
            raise _leaves(name)
        called = f"{group.name}:{name}"
        users = self._users.setdefault(called, _Users())
        users.leaving = True
        try:
            await users.none_within(wait_seconds)
            async with exclusive, self._changing:
                workers = _workers(group)
                told = await self._unload_all(workers, self.of(group.name), name)
        finally:
            users.leaving = False
            if not users.count:
                self._users.pop(called, None)
        freed = all(one["freed"] for one in told)
        return {"object": "adapter", "id": called, "freed": freed, "workers": len(told)}

    async def _unload_all(
        self, workers: Sequence[Worker], wanted: dict[str, AdapterSpec], name: str
    ) -> list[dict[str, Any]]:
        """Unload it from all; what each process says."""
        answers = await _all([unload_from(worker, name) for worker in workers])
        left = {key: one for key, one in wanted.items() if key != name}
        if not any(isinstance(one, ApiError) and not is_gone(one) for one in answers):
            answers += await _all(_keep(workers, left))
        if any(isinstance(one, ApiError) and not is_gone(one) for one in answers):
            again = [load_into(worker, wanted[name]) for worker in workers]
            await asyncio.gather(*again, *_keep(workers, wanted), return_exceptions=True)
            raise _first_failure(workers, answers)
        del wanted[name]
        await _learn(workers)
        return _told(answers)

    def _is_leaving(self, model: str, name: str) -> bool:
        users = self._users.get(f"{model}:{name}")
        return users is not None and users.leaving

    @contextlib.asynccontextmanager
    async def opening(self, worker: Worker, *, is_first: bool) -> AsyncIterator[None]:
        """A worker has come up: within this it has what it is to have, and nothing else is changed.

        Args:
            worker: answers, and gets no request yet.
            is_first: whether it has never served; one that cannot have its adapters does not begin to. One
                that served goes on without.

        Raises:
            ConfigError: it cannot have one of them.
        """
        async with self._changing:
            try:
                await self._restore(worker)
            except ApiError as error:
                if is_first:
                    raise ConfigError(
                        f"{worker.id}: {error.message}", hint="unload the adapter first, or mend it"
                    ) from None
                logging.getLogger("llmkit.serve").error("worker %s: %s", worker.id, error.message)
            yield

    async def _restore(self, worker: Worker) -> None:
        wanted = self.of(worker.model)
        if wanted == self._at_start:
            return
        there = await adapters_of(worker)
        for name in there.keys() - wanted.keys():
            await unload_from(worker, name)
        for name, spec in wanted.items():
            if there.get(name) != spec:
                await load_into(worker, spec)


class _Users:
    """Requests under way with one adapter."""

    def __init__(self) -> None:
        self.count = 0
        self.leaving = False
        """Whether no more are let in."""
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        self.count += 1
        self._none.clear()

    def leave(self) -> None:
        self.count -= 1
        if not self.count:
            self._none.set()

    async def none_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), seconds)


def _leaves(name: str) -> ApiError:
    return ApiError(
        409,
        f"lora_name: {name!r} is being unloaded",
        code="adapter_leaves",
        param="lora_name",
        retry_after=1.0,
    )


def _workers(group: Group) -> list[Worker]:
    """Those of a model that have come up, a crew once. One that starts gets everything as it does.

    Raises:
        ApiError: 400: they are somebody else's; 503: there is none.
    """
    all_ = [worker for version in group.versions.values() for worker in version.workers]
    if not all(worker.is_own or worker.crew is not None for worker in all_):
        raise refused("base_model_name", f"the workers of {group.name!r} are somebody else's")
    up = once(worker for worker in all_ if worker.state in ("up", "down"))
    if not up:
        raise no_worker(group.name)
    return up


def _keep(workers: Sequence[Worker], wanted: dict[str, AdapterSpec]) -> Iterator[Awaitable[Answer]]:
    """Have those who start processes themselves give them these adapters."""

    async def keep(crew: Crew) -> Answer:
        try:
            await crew.keep(tuple(wanted.values()))
        except LlmkitError as error:
            return as_api_error(error, "lora_path")
        return []

    return (keep(worker.crew) for worker in workers if worker.crew is not None)


async def _all(asked: Iterable[Awaitable[Answer]]) -> list[Answer]:
    """The answer of each, or why it has none; a failure of our own is no answer."""
    answers: list[Answer] = []
    for one in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(one, BaseException) and not isinstance(one, ApiError):
            raise one
        answers.append(one)
    return answers


def _told(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """What each process said."""
    return [told for one in answers if not isinstance(one, ApiError) for told in one]


def _first_failure(workers: Sequence[Worker], answers: Sequence[Answer]) -> ApiError:
    """What an admin is told where not all could: whose failure it was, and that nothing is changed."""
    crews = [worker for worker in workers if worker.crew is not None]
    for worker, answer in zip([*workers, *crews], answers, strict=False):
        if isinstance(answer, ApiError) and not is_gone(answer):
            return ApiError(
                answer.status,
                f"{answer.message} (worker {worker.id}; no worker was changed)",
                code=answer.code,
                param=answer.param,
                retry_after=answer.retry_after,
            )
    raise AssertionError("nobody failed")


async def _learn(workers: Sequence[Worker]) -> None:
    """What each has now, for the list of models; one that does not answer is asked when it comes up again."""
    for worker in workers:
        with contextlib.suppress(httpx.TransportError, msgspec.DecodeError):
            worker.cards = await ask_cards(worker, ASK_SECONDS)
