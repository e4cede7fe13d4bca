"""Guesses by a smaller model with the same tokenizer (2211.17192): what it finds best, token after token.

It reads texts as the engine's model does, all of them in one pass, and keeps its own keys and values of each.
Where a guess was wrong the text is read again from there; what stands before it stays: a state too, which was
left behind each token that a guess may follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.engine.blocks import BlockPool
from llmkit.engine.layer_groups import groups_on
from llmkit.engine.machinery import make_machinery, model_device
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.scheduler import Work
from llmkit.engine.state_memory import StateMemory, guessing_states, num_slots
from llmkit.engine.text import Text
from llmkit.engine.text_memory import TextMemory
from llmkit.model.rope_scaling import ORIGINAL, depends_on_length

if TYPE_CHECKING:
    from llmkit.model.transformer import Transformer

PASS_TOKENS = 512
"""Most tokens read before a guess."""


@dataclass(eq=False)
class _Reading(Text):
    """A text as the smaller model has read it: its tokens may end with guesses."""

    kept: int = 0
    """Positions that had been read when the text was followed last: full blocks of them can be found."""
    verified: int = 0
    """Tokens that are the text's, not guesses."""
    is_foreign: bool = False
    """Whether it has a token that the smaller model does not have."""


class DraftModel:
    """Proposes the tokens that a smaller model finds best."""

    def __init__(
        self,
        model: "Transformer | PackedModel",
        *,
        count: int = 4,
        positions: int = 0,
        vocab_size: int | None = None,
        block_tokens: int = 16,
        max_texts: int = 1,
        pass_tokens: int = PASS_TOKENS,
        wide: bool = True,
    ) -> None:
        """
        Args:
            model: the smaller one: packed for the kernels, which then compute; or in evaluation mode.
            count: guesses at once.
            positions: that its cache holds, of all texts together; 0: its context. A text for which there is
                no room gets no guesses.
            vocab_size: of the model that verifies; None: the same.
            block_tokens: positions of a block.
            max_texts: at work at once: so many have room for windows, where layers see no more than these.
            pass_tokens: most tokens read before a guess: a long prompt is read in parts, a part a pass.
            wide: with the kernels, whether to use every thread.
        """
        config = model.config
        self.count = count
        self._vocab_size = min(config.vocab_size, vocab_size or config.vocab_size)
        self._context = config.max_position_embeddings
        if config.rope_scaling is not None and depends_on_length(config.rope_scaling):
            # beyond it what was read would have to be read again, which no guess is worth
            self._context = min(self._context, int(config.rope_scaling.get(ORIGINAL) or self._context))
        self._pass_tokens = pass_tokens
        groups = groups_on(config, block_tokens, model_device(model), whole=False)
        positions = positions or config.max_position_embeddings
        num_blocks = groups.blocks_for(positions, max_texts, block_tokens, pass_tokens)
        self.pool = BlockPool(num_blocks)
        earlier = guessing_states(max_texts, count)
        slots = num_slots(max_texts, earlier)
        machinery = make_machinery(model, num_blocks, block_tokens, wide=wide, groups=groups, slots=slots)
        self._store, self._runner, states = machinery.store, machinery.runner, machinery.states
        self._memory = TextMemory(
            self.pool,
            block_tokens,
            groups,
            pass_tokens=pass_tokens,
            reuse=True,
            states=None if states is None else StateMemory(states, max_texts, earlier),
        )
        self._readings: dict[int, _Reading] = {}

    def propose(self, texts: Sequence[Text], most: Sequence[int]) -> list[list[int]]:
        """For each text at most so many tokens that may follow it."""
        guesses: list[list[int]] = [[] for _ in texts]
        works, wanted = self._reads(texts, most)
        while works:
            for place, work in works.items():
                if work.completes and len(guesses[place]) + 1 < wanted[place]:
                    self._memory.leave_states(work.text, [work.start + work.count])
            scores = self._runner.run(list(works.values()))
            for (place, work), rows in zip(list(works.items()), scores, strict=True):
                work.text.computed += work.count
                del works[place]
                if rows is None:
                    continue  # more of it is read next time
                token = int(rows[-1, : self._vocab_size].argmax())
                guesses[place].append(token)
                if len(guesses[place]) < wanted[place]:
                    work.text.tokens.append(token)
                    works[place] = Work(work.text, work.text.computed, 1, 0)
        return guesses

    def learn(self, text: Text, proposed: int, right: int) -> None:
        """Nothing: what was right is seen in the text."""

    def forget(self, text: Text) -> None:
        """A text is over; what was read of it may be found by one that begins alike."""
        reading = self._readings.pop(text.number, None)
        if reading is not None:
            self._follow(reading, text.tokens)
            self._memory.give_back(reading)

    def _reads(self, texts: Sequence[Text], most: Sequence[int]) -> tuple[dict[int, Work], dict[int, int]]:
        """What is to be read before the first guesses, and how many guesses each text gets; by place."""
        works: dict[int, Work] = {}
        wanted: dict[int, int] = {}
        left = self._pass_tokens
        for place, (text, room) in enumerate(zip(texts, most, strict=True)):
            count = min(self.count, room, self._context + 1 - len(text.tokens))
            if count < 1 or left < 1 or not self._has_room(text):
                continue
            reading = self._reading(text)
            self._follow(reading, text.tokens)
            positions = len(text.tokens) + count - 1
            if reading.is_foreign or self._memory.missing(reading, positions) > self.pool.num_free:
                continue
            unread = min(left, len(reading.tokens) - reading.computed)
            unread = self._memory.until_stop(reading, unread)
            read = reading.computed + unread
            if not self._memory.hold(reading, read if read < len(text.tokens) else positions):
                continue
            works[place], wanted[place] = Work(reading, reading.computed, unread, 0), count
            left -= unread
        return works, wanted

    def _reading(self, text: Text) -> _Reading:
        reading = self._readings.get(text.number)
        if reading is None:
            tables = self._memory.tables(text.table.root)
            reading = _Reading(text.number, text.request, text.sampler, text.room, text.tokens, tables=tables)
            self._readings[text.number] = reading
            self._begin(reading, text.tokens)
        return reading

    def _has_room(self, text: Text) -> bool:
        """Whether a text is read already, or can be: those that wait keep what was read of them."""
        return text.number in self._readings or self._memory.has_room_for_state

    def _begin(self, reading: _Reading, tokens: list[int]) -> None:
        """Find what was read of others that begin like it."""
        reading.tokens = tokens
        self._memory.find(reading)
        reading.tokens = tokens[: reading.computed]
        reading.verified = reading.kept = reading.computed

    def _follow(self, reading: _Reading, tokens: list[int]) -> None:
        """Forget what was read after the first wrong guess; the last token is read again always, for its
        scores."""
        kept = self._right(reading, tokens)
        if not self._memory.has_state(reading, kept):  # nothing was verified since it was read to its end
            self._memory.give_back(reading)
            self._begin(reading, tokens)
            kept = reading.computed
        reading.is_foreign = reading.is_foreign or max(tokens[kept:]) >= self._vocab_size
        reading.tokens[kept:] = tokens[kept:]
        self._memory.commit(reading, reading.kept, kept)
        reading.kept, reading.verified = kept, len(tokens)

    @staticmethod
    def _right(reading: _Reading, tokens: list[int]) -> int:
        """Positions that were read of the text as it is now, but for its last token."""
        end = min(reading.computed, len(tokens) - 1)
        kept = min(reading.verified, end)
        while kept < end and reading.tokens[kept] == tokens[kept]:
            kept += 1
        return kept
