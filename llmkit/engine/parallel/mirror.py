"""The same passes on every process that has a part of a model: the first one tells, the others follow.

The first plans, draws and speaks with clients. What it computes means nothing without the others, so that a
pass that fails on one of them is the end of all.
"""

import weakref
from collections.abc import Sequence
from functools import cached_property
from itertools import count
from typing import NoReturn, Protocol

from llmkit.engine.adapters.values import Adapter
from llmkit.engine.hidden import headless, hidden_runner
from llmkit.engine.machinery import make_machinery
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.parallel.alone import Alone
from llmkit.engine.parallel.passes import MAIN, Memory, PassReader, encode_pass
from llmkit.engine.pass_runner import PassRunner
from llmkit.engine.scheduler import Work
from llmkit.errors import UsageError
from llmkit.kernels.memory import Floats
from llmkit.model.transformer import Transformer


class Followers(Protocol):
    """The other processes, as the first one has them."""

    def tell(self, message: bytes) -> None:
        """Send a message to each."""

    def lost(self, reason: str) -> NoReturn:
        """End everything."""

    def close(self) -> None:
        """Let them end; nothing is told any more."""


class Lead(Alone):
    """The first process of several: its passes are everybody's."""

    def __init__(self, followers: Followers) -> None:
        """
        Args:
            followers: the others.
        """
        self.followers = followers
        self._numbers = count(MAIN + 1)
        self._gone: list[int] = []

    def over(self, runner: PassRunner) -> PassRunner:
        """See `Alone.over`."""
        return _LeadRunner(self, runner, MAIN, 0)

    def aside(self, runner: PassRunner, blocks: int) -> PassRunner:
        """See `Alone.aside`."""
        made = _LeadRunner(self, runner, next(self._numbers), blocks)
        weakref.finalize(made, self._gone.append, made.number)
        return made

    def tell(self, works: Sequence[Work], number: int, blocks: int) -> None:
        """Have the others compute a pass too."""
        gone = tuple(self._gone.pop() for _ in range(len(self._gone)))  # others may come meanwhile
        self.followers.tell(encode_pass(works, Memory(number, blocks, gone)))

    def lost(self, error: Exception) -> NoReturn:
        """A pass failed here."""
        self.followers.lost(f"a pass failed: {error}")

    def close(self) -> None:
        """See `Alone.close`."""
        self.followers.close()


class _LeadRunner:
    """A runner whose passes the others compute as well."""

    def __init__(self, lead: Lead, runner: PassRunner, number: int, blocks: int) -> None:
        self.number = number
        self.kernels = runner.kernels
        self._lead, self._runner, self._blocks = lead, runner, blocks

    def add_adapter(self, adapter: Adapter) -> None:
        """See `PassRunner`.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"adapter {adapter.name!r}: adapters are not cut, as --tp cuts a model",
            hint="llmkit merge makes one model of both",
        )

    def remove_adapter(self, adapter: Adapter) -> None:
        """Nothing: there is none."""

    def run(self, works: Sequence[Work]) -> list[Floats | None]:
        """See `PassRunner.run`; what goes wrong ends everything."""
        self._lead.tell(works, self.number, self._blocks)
        self._blocks = 0
        try:
            return self._runner.run(works)
        except Exception as error:
            self._lead.lost(error)


class Follower:
    """Another process: computes what it is told, and has nothing to say."""

    def __init__(
        self,
        model: Transformer | PackedModel,
        *,
        positions: int,
        block_tokens: int,
        kv_dtype: str,
        max_texts: int,
    ) -> None:
        """
        Args:
            model: the process's part; packed for the kernels, where these compute.
            positions: and all others: as of the first process's engine.
            block_tokens: of the cache.
            kv_dtype: of the cache.
            max_texts: most of a pass.
        """
        self._model = model
        self._reader = PassReader(2 * max_texts)
        blocks = -(-positions // block_tokens)
        made = make_machinery(
            model, blocks, block_tokens, kv_dtype=kv_dtype, max_texts=max_texts, in_parts=True
        )
        self._runners = {MAIN: made.runner}

    @cached_property
    def _headless(self) -> Transformer | PackedModel:
        return headless(self._model)

    def obey(self, message: bytes) -> None:
        """Compute a pass."""
        memory, works = self._reader.read(message)
        for number in memory.gone:
            self._runners.pop(number, None)  # it never had a pass
        if memory.blocks:
            self._runners[memory.number] = hidden_runner(self._headless, memory.blocks, texts=1)
        self._runners[memory.number].run(works)
