"""The models behind a router, the versions of each, and the workers of each version."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from llmkit.server.errors import ApiError, model_not_allowed, no_model
from llmkit.server.gate import Caller
from llmkit.server.router.crew import Crew
from llmkit.server.router.rollout import Outcomes, RollbackConfig, choose_version, must_roll_back
from llmkit.server.router.routing import PoisonGuard, PrefixMemory, pick
from llmkit.server.router.worker import Card, Worker
from llmkit.server.wire.lora import LoraScale, check_scales, name_with, named_scales


@dataclass(eq=False)
class Version:
    """One version of a model."""

    name: str
    weight: float
    workers: list[Worker] = field(default_factory=list)
    path: str | None = None
    """Where its weights are; None: with somebody else."""
    created: int = field(default_factory=lambda: int(time.time()))
    outcomes: Outcomes = field(default_factory=Outcomes)
    rolled_back: bool = False

    @property
    def crew(self) -> Crew | None:
        """Who keeps its processes alive for us; None: the supervisor, or they are somebody else's."""
        return next((worker.crew for worker in self.workers if worker.crew is not None), None)

    @property
    def is_up(self) -> bool:
        """Whether one of its workers takes requests."""
        return any(worker.takes_requests for worker in self.workers)


@dataclass(eq=False)
class Group:
    """A model by the name that clients call it."""

    name: str
    versions: dict[str, Version] = field(default_factory=dict)
    """Oldest first."""
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def main(self) -> Version:
        """The version that most conversations get."""
        return max(self.versions.values(), key=lambda one: one.weight)

    @property
    def is_up(self) -> bool:
        """Whether a request for it would be answered."""
        return any(version.is_up for version in self.versions.values())

    @property
    def card(self) -> Card:
        """What its workers say of it: of the main version, where that has said anything."""
        return self.cards()[0]

    def cards(self) -> list[Card]:
        """The model, and its adapters."""
        versions = sorted(self.versions.values(), key=lambda one: one.weight, reverse=True)
        workers = [worker for version in versions for worker in version.workers]
        found: dict[str, Card] = {self.name: Card(self.name)}
        for worker in reversed(workers):
            for card in worker.cards:
                if card.id == self.name or (worker.is_ours and card.id.startswith(f"{self.name}:")):
                    found[card.id] = card
        return list(found.values())

    def known_name(self, wanted: str | None, lora: Any = None) -> str:
        """What a request is counted under: adapters that there are, or the model.

        Args:
            wanted: the model that it names.
            lora: its list of adapters, not looked at so far; one that a worker will refuse names none.
        """
        known = [card.id for card in self.cards()]
        if not lora:
            return wanted if wanted in known and wanted is not None else self.name
        try:
            told = msgspec.convert(lora, list[LoraScale])
            check_scales(told)
            adapters = [one.partition(":")[2] for one in known if one != self.name]
            return name_with(self.name, named_scales(adapters, told))
        except (msgspec.ValidationError, ApiError):
            return self.name

    def choose(self, sticky: str) -> Version:
        """The version for a conversation; where it is down, another that has a weight.

        Raises:
            ApiError: 503: none is up.
        """
        up = {name: one.weight for name, one in self.versions.items() if one.is_up and one.weight > 0}
        chosen = choose_version({name: one.weight for name, one in self.versions.items()}, sticky)
        if chosen in up:
            return self.versions[chosen]
        if not up:
            raise no_worker(self.name)
        return self.versions[choose_version(up, sticky)]


class Fleet:
    """All of a router's models and workers.

    Attributes:
        groups: models by name; the first one answers where a request names none.
        remote: workers that are not processes of ours.
        guard: requests that bring workers down.
        failed_over: requests sent to a second worker.
    """

    def __init__(
        self, rollback: RollbackConfig | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            rollback: when a new version is taken back.
            clock: seconds.
        """
        self.groups: dict[str, Group] = {}
        self.remote: list[Worker] = []
        self.guard = PoisonGuard(clock)
        self.prefixes = PrefixMemory()
        self.failed_over = 0
        self._rollback = rollback or RollbackConfig()
        self._clock = clock
        self._numbers = count(1)

    def find(self, name: str | None, caller: Caller) -> Group:
        """The model that a request asks for; behind a colon it names an adapter.

        Raises:
            ApiError: 404: there is none of this name; 403: the key may not use it; 503: none is known yet.
        """
        if name is None and not self.groups:
            raise no_worker("a model")
        wanted = name or next(iter(self.groups))
        if caller.models is not None and wanted not in caller.models:
            raise model_not_allowed(wanted)
        group = self.groups.get(wanted) or self.groups.get(wanted.partition(":")[0])
        if group is None:
            raise no_model(wanted, [card.id for one in self.groups.values() for card in one.cards()])
        return group

    def add_version(self, model: str, version: Version) -> None:
        """Let a version of a model be asked for."""
        self.groups.setdefault(model, Group(model)).versions[version.name] = version

    def learn(self, worker: Worker) -> None:
        """Let the models be asked for that a remote worker has told of, and no others of it."""
        names = {card.id for card in worker.cards}
        for name, group in list(self.groups.items()):
            if name not in names:
                for version in group.versions.values():
                    version.workers = [one for one in version.workers if one is not worker]
                if not any(version.workers for version in group.versions.values()):
                    del self.groups[name]
        for card in worker.cards:
            versions = self.groups.setdefault(card.id, Group(card.id)).versions
            version = versions.setdefault(worker.version, Version(worker.version, 100.0))
            if worker not in version.workers:
                version.workers.append(worker)

    def workers(self) -> Iterator[Worker]:
        """Each once."""
        of_groups = [
            worker
            for group in self.groups.values()
            for version in group.versions.values()
            for worker in version.workers
        ]
        yield from dict.fromkeys([*of_groups, *self.remote])

    @property
    def is_ready(self) -> bool:
        """Whether each model would be answered for."""
        return bool(self.groups) and all(group.is_up for group in self.groups.values())

    def pick(
        self,
        version: Version,
        prefixes: tuple[bytes, ...],
        tried: set[str],
        does: Callable[[Worker], bool] = lambda worker: True,
    ) -> Worker | None:
        """A worker for a request: one that has not tried it, if there is any.

        Args:
            version: that is asked.
            prefixes: of the prompt.
            tried: workers that it was with.
            does: whether a worker does what it asks for.
        """
        able = [worker for worker in version.workers if does(worker)]
        fresh = [worker for worker in able if worker.id not in tried]
        return pick(fresh, prefixes, self.prefixes) or pick(able, prefixes, self.prefixes)

    def next_number(self) -> int:
        """Of a request sent to a worker."""
        return next(self._numbers)

    def went(self, group: Group, version: Version, *, failed: bool) -> None:
        """A worker of a version is done with a request; a new version that fails too often is taken back.

        Args:
            group: the model.
            version: that it was for.
            failed: by the worker's fault.
        """
        now = self._clock()
        version.outcomes.add(now, failed=failed)
        older = list(group.versions.values())
        older = older[: older.index(version)] if version in older else []
        if not failed or not older or not version.weight:
            return
        old = max(older, key=lambda one: one.weight)
        if must_roll_back(version.outcomes.count(now), old.outcomes.count(now), self._rollback):
            old.weight, version.weight = old.weight + version.weight, 0.0
            version.rolled_back = True
            logging.getLogger("llmkit.serve").warning(
                "%s: version %s fails more often than %s, and is taken back",
                group.name,
                version.name,
                old.name,
            )


def no_worker(name: str) -> ApiError:
    """Nobody is there who could answer."""
    return ApiError(503, f"no worker has {name} now", code="no_worker", retry_after=1.0)
