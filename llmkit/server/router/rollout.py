"""Which version of a model answers, and when a new one is taken back. Pure."""

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from llmkit.server.errors import refused

WINDOW_SECONDS = 120.0
"""Over which errors are counted."""


@dataclass(frozen=True, kw_only=True)
class RollbackConfig:
    """When a new version is taken back."""

    margin: float = 0.05
    """By how much its share of failed requests may be above the old one's."""
    least_requests: int = 20
    """That it has had before it is judged."""


class Outcomes:
    """How the requests of a version went, in the last `WINDOW_SECONDS`."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, bool]] = deque()
        self._failed = 0

    def add(self, now: float, *, failed: bool) -> None:
        """One is over.

        Args:
            now: seconds.
            failed: by the worker's fault: it crashed, or said 5xx.
        """
        self._ends.append((now, failed))
        self._failed += failed
        self._forget(now)

    def count(self, now: float) -> tuple[int, int]:
        """Requests, and those of them that failed."""
        self._forget(now)
        return len(self._ends), self._failed

    def _forget(self, now: float) -> None:
        while self._ends and now - self._ends[0][0] > WINDOW_SECONDS:
            self._failed -= self._ends.popleft()[1]


def choose_version(weights: Mapping[str, float], sticky: str) -> str:
    """The version for a conversation: the same one as long as the weights are the same, and for as many
    conversations as can be when they change.

    Args:
        weights: of each version, not all 0; in the order in which the versions came.
        sticky: names the key and the conversation.
    """
    digest = hashlib.sha256(sticky.encode(errors="surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * sum(weights.values())
    chosen = ""
    for name, weight in weights.items():
        if weight > 0:
            chosen = name
            if place < weight:
                break
        place -= weight
    return chosen


def must_roll_back(new: tuple[int, int], old: tuple[int, int], config: RollbackConfig) -> bool:
    """Whether a new version fails too often.

    Args:
        new: its requests, and those of them that failed.
        old: of the version before it.
        config: how much is too much.
    """
    if new[0] < config.least_requests:
        return False
    rates = [failed / max(1, requests) for requests, failed in (new, old)]
    return rates[0] > rates[1] + config.margin


def checked_weights(told: Mapping[str, float], versions: Mapping[str, object]) -> dict[str, float]:
    """Weights as an admin gives them; versions that are not named get 0.

    Raises:
        ApiError: 400: an unknown version, a weight below 0, or all 0.
    """
    for name, weight in told.items():
        if name not in versions:
            raise refused("weights", f"no version {name!r} (there are {', '.join(versions)})")
        if not weight >= 0:
            raise refused("weights", f"{name}: at least 0 (found {weight})")
    weights = {name: float(told.get(name, 0)) for name in versions}
    if not sum(weights.values()) > 0:
        raise refused("weights", "one must be above 0")
    return weights
