"""A text in the engine: what it has, what of it has been computed, and the memory that it holds."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.adapters.values import Adapter
from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Key
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn, Request, Scored
from llmkit.engine.sampling import Sampler, scored
from llmkit.engine.softmax import logprob

GIVEN_TOKENS = 128
"""Of a prompt that is scored, in one pass: the scores of each are a row as long as the vocabulary."""


@dataclass(eq=False)
class Text:
    """One request as it is worked on.

    Computed positions chase known tokens: a prompt read in parts, a beginning found in the cache, the next
    token, drafts to be verified, and a text that lost its memory and starts again are all the same to the
    scheduler.
    """

    number: int
    """In order of arrival."""
    request: Request
    sampler: Sampler
    room: int
    """Tokens that may be drawn."""
    tokens: list[int]
    """The prompt, and what has been drawn. Of a prompt that is scored, what has been scored so far."""
    given: list[int] = field(default_factory=list)
    """Tokens of the prompt that are still to be scored, before anything is drawn."""
    computed: int = 0
    """Tokens whose keys and values are in memory."""
    drafts: list[int] = field(default_factory=list)
    """Guesses at the next tokens, to be verified in the next pass."""
    tables: list[BlockTable] = field(default_factory=lambda: [BlockTable()])
    """Its memory, in each group of layers; see `BlockTable`."""
    state: int | None = None
    """Where its state is, in a model with layers of state, while it has memory."""
    earlier: dict[int, int] = field(default_factory=dict)
    """By positions that it may have to go back to, where its state is to be as it is behind them: the next
    pass leaves it there."""
    state_stops: frozenset[int] = frozenset()
    """Positions at which its state is kept for others to go on from: no pass goes over them."""
    written_state: Key | None = None
    """Of what has been written, the block at whose end the state was kept last."""
    adapter: Adapter | None = None
    """What changes the model for it."""
    from_cache: int = 0
    """Tokens of the prompt that were found in the cache."""
    restarts: int = 0
    """How often its memory was taken from it."""

    @property
    def table(self) -> BlockTable:
        """Its memory in the first group of layers, which may be the only one."""
        return self.tables[0]

    @property
    def drawn(self) -> int:
        """Tokens drawn so far."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def length(self) -> int:
        """Tokens that are known of it, with those that are still to be scored.

        Where angles of positions depend on a text's length, a prompt has those of its whole length from its
        first pass on, as in one pass over all of it.
        """
        return len(self.tokens) + len(self.given)

    @property
    def is_ready(self) -> bool:
        """Whether nothing but the last token drawn is to be read before the next is drawn."""
        return self.drawn > 0 and self.computed == len(self.tokens) - 1

    @property
    def most_positions(self) -> int:
        """Positions that it may come to hold: the last token drawn is not read."""
        return len(self.request.prompt) + max(0, self.room - 1)

    def guess_given(self) -> None:
        """Have the next tokens of a prompt that is scored go through the model together."""
        self.drafts = self.given[:GIVEN_TOKENS]

    def give(self, logits: NDArray[np.float32]) -> Drawn:
        """The next token of a prompt that is scored, with its log probability.

        Where the request asks for logprobs, with all else that `scored` tells: that takes ten times as long.

        logits: (V,) as the model scored the token's place.

        Raises:
            DataError: a score is not a number.
        """
        self.tokens.append(self.given.pop(0))
        ends = not self.given and self.request.scores_prompt == "only"
        drawn = Drawn(self.tokens[-1], "length" if ends else None, given=True)
        if self.request.sampling.logprobs is None:
            return replace(drawn, score=Scored(drawn.id, logprob(logits, drawn.id)))
        return scored(drawn, logits, self.request.sampling.logprobs)

    def forget(self) -> None:
        """Nothing of it is in memory any more."""
        self.computed = 0
        self.state = None
        self.earlier = {}
        self.drafts = []
        self.tables = [table.emptied() for table in self.tables]


def read_only(number: int) -> Text:
    """A text of which nothing is drawn, and nothing of its request used; passes say what is read of it."""
    request = Request((0,), SamplingConfig(max_tokens=1, temperature=0.0))
    return Text(number, request, Sampler(request.sampling, request.prompt, 1), room=0, tokens=[])
