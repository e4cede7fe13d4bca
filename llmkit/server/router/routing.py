"""Which worker gets a request: the one with the least to do, unless another has its beginning cached."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

from llmkit.server.router.worker import Worker

PREFIX_BYTES = (256, 1024, 4096, 16_384)
"""Beginnings of prompts by which they are told apart."""
BYTES_PER_TOKEN = 4
MOST_PREFIXES = 16_384
SUSPECT_SECONDS = 600.0
MOST_SUSPECTS = 4096
CRASHES = 2
"""A request that so many workers crashed under is the reason."""


class PrefixMemory:
    """Which worker last saw the beginning of a prompt; the longest ago are forgotten."""

    def __init__(self, most: int = MOST_PREFIXES) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, str] = OrderedDict()

    def note(self, prefixes: Sequence[bytes], worker: str) -> None:
        """A worker has read a prompt."""
        for one in prefixes:
            self._seen[one] = worker
            self._seen.move_to_end(one)
        while len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def cached_tokens(self, prefixes: Sequence[bytes], worker: str) -> int:
        """Tokens of a prompt that a worker has probably kept."""
        known = [
            size for size, one in zip(PREFIX_BYTES, prefixes, strict=False) if self._seen.get(one) == worker
        ]
        return max(known, default=0) // BYTES_PER_TOKEN


def prefixes_of(prompt: bytes, salt: str) -> tuple[bytes, ...]:
    """Digests of a prompt's beginnings, shortest first; those longer than it are left out.

    Args:
        prompt: as the request has it.
        salt: caches are kept apart by it.
    """
    sizes = [size for size in PREFIX_BYTES if size <= len(prompt)]
    return tuple(hashlib.sha256(salt.encode() + b"\0" + prompt[:size]).digest() for size in sizes)


def pick(workers: Sequence[Worker], prefixes: Sequence[bytes], memory: PrefixMemory) -> Worker | None:
    """The worker that has the fewest tokens to compute before this request is through.

    Args:
        workers: to choose from; those that take no requests are passed over.
        prefixes: of the prompt.
        memory: who has seen them.
    """

    def cost(worker: Worker) -> tuple[int, int]:
        return worker.outstanding - memory.cached_tokens(prefixes, worker.id), worker.last_taken

    return min((one for one in workers if one.takes_requests), key=cost, default=None)


class PoisonGuard:
    """Requests under which a worker crashed by its own fault. They are tried again only where a worker has
    crashed already, and no third time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """clock: seconds."""
        self._clock = clock
        self._suspects: OrderedDict[bytes, tuple[float, int, str]] = OrderedDict()

    def blame(self, digest: bytes, worker: str) -> None:
        """A worker crashed while a request was with it.

        Args:
            digest: of the request.
            worker: that crashed.
        """
        crashes = self.crashes(digest) + 1
        self._suspects.pop(digest, None)
        self._suspects[digest] = (self._clock(), crashes, worker)
        while len(self._suspects) > MOST_SUSPECTS:
            self._suspects.popitem(last=False)

    def clear(self, digest: bytes) -> None:
        """It went well: it was not the reason."""
        self._suspects.pop(digest, None)

    def crashes(self, digest: bytes) -> int:
        """Workers that crashed under it lately."""
        found = self._found(digest)
        return 0 if found is None else found[1]

    def is_poison(self, digest: bytes) -> bool:
        """Whether it is not to be tried again."""
        return self.crashes(digest) >= CRASHES

    def confined_to(self, digest: bytes) -> str | None:
        """The worker that it may be tried on; None: any."""
        found = self._found(digest)
        return None if found is None else found[2]

    def _found(self, digest: bytes) -> tuple[float, int, str] | None:
        found = self._suspects.get(digest)
        if found is not None and self._clock() - found[0] >= SUSPECT_SECONDS:
            del self._suspects[digest]
            return None
        return found
