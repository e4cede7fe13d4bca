"""States of texts, for models whose layers keep one: each text at work has one, and some are kept.

A state says what a text was at one position, and nothing of the positions before. So a text that begins like
another can go on only from a position where the state was kept: where a prompt ends, where prompts were seen
to part, and where an answer has come to (as in vLLM's hybrid cache).

Guesses go through the model before anybody knows whether they are right. So a pass leaves the state behind
each position that a text may have to go back to, and the text goes on from the last that is right.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from llmkit.engine.blocks import Key
from llmkit.engine.saved_states import ReadState, SavedStates, StateSlots
from llmkit.engine.text import Text
from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig

KEPT_FOR_EACH = 2
"""States that are kept, for each text at work: of its prompt, and of what was written."""
VERIFIED_FOR_EACH = 2
"""Guesses at once, for each text at work, where all together have more than one text's."""


class StateMemory:
    """Gives states to texts, and finds those that were kept; what was used longest ago goes first.

    Attributes:
        saved: states of a file, which are found too; None: there is no file.
    """

    def __init__(self, slots: StateSlots, texts: int, earlier: int = 0) -> None:
        """
        Args:
            slots: `num_slots(texts, earlier)` of them.
            texts: most at work at once.
            earlier: states that they may go back to, of all together.
        """
        self.saved: SavedStates | None = None
        self.slots = slots
        self._free = [*reversed(range(texts))]
        self._spare = [*reversed(range(texts, num_slots(texts)))]
        self._earlier = [*reversed(range(num_slots(texts), num_slots(texts, earlier)))]
        self._kept: OrderedDict[Key, int] = OrderedDict()

    @property
    def num_free(self) -> int:
        """States for texts that are to come to work."""
        return len(self._free)

    @property
    def num_earlier(self) -> int:
        """States to go back to that `leave` can give."""
        return len(self._earlier)

    def take(self) -> int:
        """A state for a text at work, which is no text's yet: its first pass begins it."""
        return self._free.pop()

    def give_back(self, text: Text) -> None:
        """A text is over, or begins again."""
        if text.state is not None:
            self._free.append(text.state)
        self._forget_earlier(text)

    def leave(self, text: Text, positions: Iterable[int]) -> None:
        """Have the next pass leave a text's state as it is behind so many of its positions."""
        for position in positions:
            text.earlier[position] = self._earlier.pop()

    def go_back(self, text: Text) -> None:
        """Its state is the one behind its computed positions, and it goes back to none before them."""
        slot = text.earlier.pop(text.computed, None)
        if slot is not None:
            assert text.state is not None
            self._earlier.append(text.state)
            text.state = slot
        self._forget_earlier(text)

    def _forget_earlier(self, text: Text) -> None:
        self._earlier += text.earlier.values()
        text.earlier = {}

    def has(self, key: Key) -> bool:
        """Whether the state at the end of the block with this key was kept."""
        return key in self._kept or (self.saved is not None and key in self.saved)

    def go_on(self, key: Key, slot: int) -> None:
        """Put a state that was kept into a text's.

        Raises:
            DataError: it comes from a file, and is damaged.
        """
        if key in self._kept:
            self.slots.copy(self._kept[key], slot)
            self._kept.move_to_end(key)
        else:
            assert self.saved is not None
            self.saved.write(key, slot)

    def has_saved(self, keys: Iterable[Key]) -> bool:
        """Whether the file has all these."""
        return all(self.saved is not None and key in self.saved for key in keys)

    def contents(self) -> Iterator[tuple[Key, ReadState]]:
        """What was kept, and what of the file was gone on from."""
        for key, slot in self._kept.items():
            yield key, partial(self.slots.read, slot=slot)
        if self.saved is not None:
            yield from self.saved.contents()

    def keep(
        self,
        key: Key,
        slot: int,
        instead_of: Key | None = None,
        *,
        has_block: Callable[[Key], bool] = lambda _: True,
    ) -> None:
        """Keep what a text's state is now.

        Args:
            key: of the block that ends here.
            slot: the text's.
            instead_of: a state that was kept, and that nobody is to go on from.
            has_block: whether the block with a key is still found: else nobody goes on from a state, which
                goes before all others then.
        """
        if key not in self._kept:
            if instead_of is not None and instead_of in self._kept:
                self._spare.append(self._kept.pop(instead_of))
            elif not self._spare:
                lost = next((one for one in self._kept if not has_block(one)), next(iter(self._kept)))
                self._spare.append(self._kept.pop(lost))
            self._kept[key] = self._spare.pop()
            self.slots.copy(slot, self._kept[key])
        self._kept.move_to_end(key)


def check_offload(config: ModelConfig, nbytes: int) -> None:
    """Refuse to keep blocks in other memory where layers keep states.

    Raises:
        UsageError: names the flag.
    """
    if config.state_layers and nbytes:
        raise UsageError(
            "--cache-offload keeps blocks of tokens, and a state is none: "
            f"{config.model_type} has layers that keep a state",
            hint="leave out --cache-offload",
        )


def num_slots(texts: int, earlier: int = 0) -> int:
    """States of texts at work, kept ones, and those to go back to."""
    return texts * (1 + KEPT_FOR_EACH) + earlier


def verified_states(texts: int, guesses: int) -> int:
    """States to go back to where guesses are verified.

    Args:
        texts: most at work at once.
        guesses: most of each at once; 0: none are made.
    """
    return max(guesses, min(guesses, VERIFIED_FOR_EACH) * texts)


def guessing_states(texts: int, guesses: int) -> int:
    """The same for the model that guesses: between two passes of the other it has them all."""
    return texts * (guesses - 1)
