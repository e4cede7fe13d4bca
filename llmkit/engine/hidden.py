"""What the head would read of texts, added up over their tokens: vectors of texts are made of it.

Texts are read as prompts are, in passes of bounded size, and in memory that is theirs alone: nothing of them
is looked for in the cache, which keeps no hidden states.

Shapes: N texts, D hidden_size, R positions of a pass.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.blocks import BlockPool
from llmkit.engine.config import SamplingConfig
from llmkit.engine.native import NativeRunner
from llmkit.engine.request import Request
from llmkit.engine.runner import PassRunner, Runner
from llmkit.engine.sampling import Sampler
from llmkit.engine.scheduler import Work
from llmkit.engine.store import KVStore
from llmkit.engine.text import Text
from llmkit.kernels.forward import NativeModel
from llmkit.kernels.packed import PackedFormat, pack
from llmkit.model.rope_scaling import depends_on_length
from llmkit.model.transformer import Transformer

_BLOCK_TOKENS = 16
_ASKED = SamplingConfig(max_tokens=1, temperature=0.0)
"""A text has settings of sampling, of which none is used here."""


class HiddenSums:
    """Adds up hidden states after the last norm.

    Attributes:
        sums: (N, D) float64, complete when `step` says so.
    """

    def __init__(
        self,
        model: Transformer,
        rows: Sequence[Sequence[int]],
        skipped: Sequence[int],
        *,
        native: NativeModel | None = None,
        most: int,
        over: Callable[[PassRunner, int], PassRunner] = lambda runner, _: runner,
    ) -> None:
        """
        Args:
            model: in evaluation mode.
            rows: token ids of each text, at least one and no more than its context.
            skipped: of each text, the first tokens that are read and not added.
            native: the model's weights packed for the kernels, which then compute.
            most: tokens of a pass; of a model that turns positions by a text's length, of the texts of a pass
                but the longest.
            over: makes another runner of what computes passes in a memory of so many blocks.
        """
        self._over = over
        self._model, self._native = model, None if native is None else headless(native)
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
            self.sums[number] += hidden[unread:].double().sum(0).numpy()
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
        self._runner = self._over(hidden_runner(self._model, sum(blocks), self._native), sum(blocks))
        pool = BlockPool(sum(blocks))
        for number, count in zip(numbers, blocks, strict=True):
            request = Request(tuple(self._rows[number]), _ASKED)
            sampler = Sampler(_ASKED, request.prompt, self._model.config.vocab_size)
            text = Text(number, request, sampler, room=0, tokens=[])
            for _ in range(count):
                block = pool.take(text.table[-1] if text.table else None)
                assert block is not None
                text.table.append(block)
            self._open.append(text)


def hidden_runner(model: Transformer, blocks: int, native: NativeModel | None) -> PassRunner:
    """What gives hidden states in the place of scores, with memory of its own.

    Args:
        model: in evaluation mode.
        blocks: of the memory.
        native: `headless`; None: the model's modules compute.
    """
    tokens = model.model.embed_tokens.weight
    store = KVStore(model.config, blocks, _BLOCK_TOKENS, tokens.dtype, tokens.device)
    if native is None:
        return Runner(model, store, score=lambda hidden: hidden)
    return NativeRunner(model, store, native, gathers=False)


def headless(native: NativeModel) -> NativeModel:
    """The same layers, whose hidden states come out: products with the unit matrix are exact in float32."""
    unit = np.eye(native.sizes.hidden, dtype=np.float32)
    return native.with_head(pack(unit, PackedFormat.FLOAT32))
