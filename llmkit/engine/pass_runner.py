"""What computes passes, and what a pass has of a text.

Shapes: R rows of scores, V vocab_size.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

from llmkit.engine.block_store import BlockStore
from llmkit.engine.cuda.plan import PagePlan
from llmkit.engine.saved_states import StateSlots
from llmkit.engine.scheduler import Work
from llmkit.kernels.memory import Floats

if TYPE_CHECKING:
    from llmkit.engine.adapters.values import Adapter


class PassRunner(Protocol):
    """Computes what is planned; of adapters it is told before a text has them."""

    kernels: str
    """native or torch."""

    def run(self, works: Sequence[Work]) -> list[Floats | None]:
        """Compute what is planned.

        Returns:
            For each text whose every token is computed now the scores (R, V) after its last known token and
            after each draft; None for the others.
        """

    def add_adapter(self, adapter: "Adapter") -> None:
        """Texts may have it from now on."""

    def remove_adapter(self, adapter: "Adapter") -> None:
        """No text has it any more."""


class Machinery(NamedTuple):
    """What an engine runs on."""

    plan: PagePlan
    """How passes run; its `describe` tells a user."""
    store: BlockStore
    """Blocks asked for, and the plan's spare ones."""
    runner: PassRunner
    states: StateSlots | None = None
    """Of texts, where layers keep one."""


def known_ids(work: Work) -> list[int]:
    """The tokens of a text that go through the model: known ones, then drafts."""
    known = work.text.tokens[work.start : work.start + work.count - work.num_drafts]
    return known + work.text.drafts[: work.num_drafts]


def state_copies(works: Sequence[Work]) -> list[int]:
    """Of each new position the slot that is to have its text's state behind it too, or -1; empty where none
    has: see `Text.earlier`."""
    if not any(work.text.earlier for work in works):
        return []
    return [
        work.text.earlier.get(position + 1, -1)
        for work in works
        for position in range(work.start, work.start + work.count)
    ]


def parted(scores: Floats, counts: Sequence[int]) -> list[Floats | None]:
    """Scores of a pass text by text: (sum of counts, V) in so many rows each; None for none."""
    ends = [*accumulate(counts, initial=0)]
    return [scores[start:end] if end > start else None for start, end in pairwise(ends)]
