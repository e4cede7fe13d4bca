"""States of texts, for models whose layers keep one: each text at work has one, and some are kept.

A state says what a text was at one position, and nothing of the positions before. So a text that begins like
another can go on only from a position where the state was kept: where a prompt ends, where prompts were seen
to part, and where an answer has come to (as in vLLM's hybrid cache).
"""

from collections import OrderedDict
from typing import Protocol

from llmkit.engine.blocks import Key
from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig

KEPT_FOR_EACH = 2
"""States that are kept, for each text at work: of its prompt, and of what was written."""


class StateSlots(Protocol):
    """Room for so many states."""

    def copy(self, source: int, target: int) -> None:
        """A second text from where the first is."""


class StateMemory:
    """Gives states to texts, and finds those that were kept; what was used longest ago goes first."""

    def __init__(self, slots: StateSlots, texts: int) -> None:
        """
        Args:
            slots: `num_slots(texts)` of them.
            texts: most at work at once.
        """
        self._slots = slots
        self._free = [*reversed(range(texts))]
        self._spare = [*reversed(range(texts, num_slots(texts)))]
        self._kept: OrderedDict[Key, int] = OrderedDict()

    def take(self) -> int:
        """A state for a text at work, which is no text's yet: its first pass begins it."""
        return self._free.pop()

    def give_back(self, slot: int) -> None:
        """A text is over, or begins again."""
        self._free.append(slot)

    def has(self, key: Key) -> bool:
        """Whether the state at the end of the block with this key was kept."""
        return key in self._kept

    def go_on(self, key: Key, slot: int) -> None:
        """Put a state that was kept into a text's."""
        self._slots.copy(self._kept[key], slot)
        self._kept.move_to_end(key)

    def keep(self, key: Key, slot: int, instead_of: Key | None = None) -> None:
        """Keep what a text's state is now.

        Args:
            key: of the block that ends here.
            slot: the text's.
            instead_of: a state that was kept, and that nobody is to go on from.
        """
        if key not in self._kept:
            if instead_of is not None and instead_of in self._kept:
                self._spare.append(self._kept.pop(instead_of))
            elif not self._spare:
                self._spare.append(self._kept.popitem(last=False)[1])
            self._kept[key] = self._spare.pop()
            self._slots.copy(slot, self._kept[key])
        self._kept.move_to_end(key)


def check_states(
    config: ModelConfig, *, drafts: bool = False, offloads: bool = False, saves: bool = False
) -> None:
    """Refuse what does not go together with layers of state.

    Args:
        config: of the model.
        drafts: whether tokens are guessed: a state does not go back to before a wrong one.
        offloads: whether blocks are kept in other memory.
        saves: whether they are kept in a file.

    Raises:
        UsageError: names the flag.
    """
    if not config.state_layers:
        return
    asked = {
        "--draft": (drafts, "goes back where a guess was wrong"),
        "--cache-offload": (offloads, "keeps blocks of tokens, and a state is none"),
        "--prompt-cache": (saves, "keeps blocks of tokens, and a state is none"),
    }
    for flag, (is_asked, why) in asked.items():
        if is_asked:
            raise UsageError(
                f"{flag} {why}: {config.model_type} has layers that keep a state", hint=f"leave out {flag}"
            )


def num_slots(texts: int) -> int:
    """States of texts at work and kept ones."""
    return texts * (1 + KEPT_FOR_EACH)
