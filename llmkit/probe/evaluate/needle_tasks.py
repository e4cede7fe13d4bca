"""The tasks of `llmkit eval needle`, by name, and the prompt of one cell, made to measure."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from llmkit.errors import UsageError, nearest
from llmkit.probe.evaluate import needle as gkamradt
from llmkit.probe.evaluate import ruler_niah
from llmkit.probe.evaluate.hidden import Build, Hay, Hidden, fit
from llmkit.probe.evaluate.ruler_lists import ANSWER_TOKENS, LEAST_PIECES, LISTS
from llmkit.probe.evaluate.ruler_niah import NIAH

TASKS = ("needle", *NIAH, *LISTS)
"""gkamradt's, and those of RULER's thirteen that need no question set."""
_NIAH_TOKENS, _NEEDLE_TOKENS = 128, 64


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something is hidden: one sample of one cell."""

    task: str
    length: int
    """Tokens of prompt and answer together."""
    depth: float | None
    """In percent."""
    sample: int


@dataclass(frozen=True, kw_only=True)
class Material:
    """What prompts are made of."""

    needle: gkamradt.Needle
    hay: Hay
    """A text's sentences; none: there is no text."""
    tokens: gkamradt.Tokens
    """The same text in tokens; noise where there is none."""
    seed: int


class PromptMaker:
    """Makes prompts of one length after the other; the same settings make the same prompts."""

    def __init__(
        self, material: Material, count: Callable[[Hidden], int], *, max_tokens: int | None = None
    ) -> None:
        """
        Args:
            material: see there.
            count: tokens of a prompt as the model gets it.
            max_tokens: of an answer; None: as the tasks have it.
        """
        self._material = material
        self._count = count
        self._max_tokens = max_tokens
        self._pieces: dict[tuple[str, int], int] = {}

    def make(self, place: Place) -> Hidden:
        """The prompt of one place, as long as leaves room for the answer.

        Raises:
            UsageError: the length has no room for it, or the task wants a text.
        """
        build, least = self._build(place)
        most = place.length - answer_tokens(place.task, self._max_tokens)
        if most < 1:
            raise UsageError(
                f"a length of {place.length:,} has no room for an answer of {place.length - most:,} tokens",
                hint="greater --lengths, or smaller --max-tokens",
            )
        known = (place.task, place.length)
        guess = self._pieces.get(known, place.length if place.task == "needle" else place.length // 25)
        try:
            pieces = fit(build, self._count, most, least=least, guess=guess)
        except UsageError as error:
            raise UsageError(
                f"{place.task}, length {place.length:,}: {error.problem}", hint=error.hint
            ) from None
        self._pieces[known] = pieces
        return build(pieces)

    def _build(self, place: Place) -> tuple[Build, int]:
        told = f"{self._material.seed}/{place.task}/{place.length}/{place.depth}/{place.sample}"
        generator = random.Random(told)
        depth = (place.depth or 0.0) / 100
        if place.task == "needle":
            return gkamradt.hide(self._material.needle, generator, depth, self._material.tokens), 1
        if place.task in NIAH:
            return ruler_niah.hide(NIAH[place.task], generator, depth, self._material.hay), 1
        return LISTS[place.task](generator, place.length), LEAST_PIECES[place.task]


def answer_tokens(task: str, max_tokens: int | None) -> int:
    """Tokens that an answer may have."""
    if max_tokens is not None:
        return max_tokens
    return ANSWER_TOKENS.get(task, _NEEDLE_TOKENS if task == "needle" else _NIAH_TOKENS)


def has_depth(task: str) -> bool:
    """Whether what is asked for stands at one place."""
    return task not in LISTS


def expand_tasks(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of tasks; `ruler` stands for all of RULER's.

    Raises:
        UsageError: a name is unknown.
    """
    found: dict[str, None] = {}
    for name in names:
        if name not in (*TASKS, "ruler"):
            guess = nearest(name, [*TASKS, "ruler"])
            raise UsageError(
                f"--tasks: no task {name!r}", hint=f"did you mean {guess}?" if guess else ", ".join(TASKS)
            )
        found |= dict.fromkeys([*NIAH, *LISTS] if name == "ruler" else [name])
    return tuple(found)
