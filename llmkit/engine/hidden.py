"""What the head would read of texts, added up over their tokens: vectors of texts are made of it.

Texts are read as prompts are, in passes of bounded size, and in memory that is theirs alone: nothing of them
is looked for in the cache, which keeps no hidden states.

Shapes: N texts, D hidden_size, R positions of a pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.blocks import BlockPool
from llmkit.engine.native.native import NativeRunner
from llmkit.engine.native.store import NativeStore
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.pass_runner import PassRunner
from llmkit.engine.scheduler import Work
from llmkit.engine.text import Text, read_only
from llmkit.kernels.packed import PackedFormat, pack
from llmkit.model.rope_scaling import depends_on_length

if TYPE_CHECKING:
    from llmkit.model.transformer import Transformer

_BLOCK_TOKENS = 16


class HiddenSums:
    """Adds up hidden states after the last norm.

    Attributes:
        sums: (N, D) float64, complete when `step` says so.
    """

    def __init__(
        self,
        model: "Transformer | PackedModel",
        rows: Sequence[Sequence[int]],
        skipped: Sequence[int],
        *,
        most: int,
        over: Callable[[PassRunner, int], PassRunner] = lambda runner, _: runner,
    ) -> None:
        """
        Args:
            model: packed for the kernels, which then compute; or in evaluation mode.
            rows: token ids of each text, at least one and no more than its context.
            skipped: of each text, the first tokens that are read and not added.
            most: tokens of a pass; where rotary positions depend on a text's length, a longer text is read
                alone, whole, in one pass.
            over: makes another runner of what computes passes in a memory of so many blocks.
        """
        self._over = over
        self._model = headless(model)
        self._rows, self._skipped = rows, skipped
        self._most = most
        self._in_parts = not depends_on_length(model.config.rope_scaling)
        self.sums: NDArray[np.float64] = np.zeros((len(rows), model.config.hidden_size))
        self._next = 0
        self._runner: PassRunner | None = None
        self._open: list[Text] = []
        self._done = 0
        """Positions of an open text, where it is a lone one that takes several passes."""

    def step(self) -> bool:
        """Compute a pass; returns whether every text is added up."""
        if not self._open:
            self._open_next()
        assert self._runner is not None
        works = [self._work(text) for text in self._open]
        for work, hidden in zip(works, self._runner.run(works), strict=True):
            assert hidden is not None
            number = work.text.number
            unread = max(0, self._skipped[number] - work.start)
            self.sums[number] += hidden[unread:].sum(0, dtype=np.float64)
        self._done += works[0].count
        if len(works) > 1 or self._done == len(self._rows[works[0].text.number]):
            self._open, self._runner, self._done = [], None, 0
        return not self._open and self._next == len(self._rows)

    def _work(self, text: Text) -> Work:
        """The next part of a text, every place of which is asked for: each token but one is as a guess."""
        row, start = self._rows[text.number], self._done
        count = min(len(row) - start, self._most) if self._in_parts else len(row)
        text.tokens = list(row[: start + 1])
        text.drafts = list(row[start + 1 : start + count])
        return Work(text, start, count, count - 1)

    def _open_next(self) -> None:
        """The texts of the next pass, or a lone one that is longer, with memory for all of it."""
        first, total = self._next, 0
        while self._next < len(self._rows):
            length = len(self._rows[self._next])
            if self._next > first and total + length > self._most:
                break
            total += length
            self._next += 1
        numbers = range(first, self._next)
        blocks = [-(-len(self._rows[number]) // _BLOCK_TOKENS) for number in numbers]
        runner = hidden_runner(self._model, sum(blocks), len(numbers))
        self._runner = self._over(runner, sum(blocks))
        pool = BlockPool(sum(blocks))
        for number, count in zip(numbers, blocks, strict=True):
            text = read_only(number)
            text.state = number - first
            held = text.table.extend(pool, count)
            assert held
            self._open.append(text)


def hidden_runner(model: "Transformer | PackedModel", blocks: int, texts: int) -> PassRunner:
    """What gives hidden states in the place of scores, with a memory of its own.

    Args:
        model: `headless`.
        blocks: of the memory.
        texts: of a pass.
    """
    if isinstance(model, PackedModel):
        native = NativeStore(model.config, blocks, _BLOCK_TOKENS, model.dtype, slots=texts)
        return NativeRunner(model, native, gathers=False)
    from llmkit.engine.runner import Runner
    from llmkit.engine.store import KVStore

    tokens = model.model.embed_tokens.weight
    store = KVStore(model.config, blocks, _BLOCK_TOKENS, tokens.dtype, tokens.device, slots=texts)
    return Runner(model, store, score=lambda hidden: hidden)


def headless(model: "Transformer | PackedModel") -> "Transformer | PackedModel":
    """The same layers, whose hidden states come out; modules are asked for them otherwise."""
    if not isinstance(model, PackedModel):
        return model
    unit = np.eye(model.config.hidden_size, dtype=np.float32)  # products with it are exact in float32
    return replace(model, native=model.native.with_head(pack(unit, PackedFormat.FLOAT32)))
