"""The tasks of `llmkit eval needle`, by name, and the prompt of one cell, made to measure."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from llmkit.errors import UsageError, at_place, nearest
from llmkit.probe.evaluate import needle as gkamradt
from llmkit.probe.evaluate import ruler_niah
from llmkit.probe.evaluate.hidden import Build, Hay, Hidden, fit
from llmkit.probe.evaluate.ruler_lists import ANSWER_TOKENS, LEAST_PIECES, LISTS
from llmkit.probe.evaluate.ruler_niah import NIAH
from llmkit.probe.evaluate.tasks_config import NeedleConfig

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
        with at_place(f"{place.task}, length {place.length:,}", UsageError):
            pieces = fit(build, self._count, most, least=least, guess=guess)
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


def check_asked(config: NeedleConfig, *, has_text: bool) -> None:
    """Refuse what none of the tasks reads, and a needle of one's own with the answers of ours.

    Args:
        config: with tasks as `expand_tasks` has them.
        has_text: whether there is a text to hide things in.

    Raises:
        UsageError: of the first flag that would change nothing, or where --answer is missing.
    """
    own = {
        "--needle": config.needle is not None,
        "--question": config.question is not None,
        "--answer": bool(config.answers),
        "--values": config.values != NeedleConfig.values,
        "--words": config.words is not None,
    }
    given = [flag for flag, is_given in own.items() if is_given]
    if given and "needle" not in config.tasks:
        raise _unread(given[0], config.tasks, hint="--tasks needle does")
    if has_text and not any(map(_hides_in_text, config.tasks)):
        raise _unread("--haystack", config.tasks, hint="--tasks needle, or niah_single_2, does")
    if config.depths != NeedleConfig.depths and not any(map(has_depth, config.tasks)):
        raise _unread("--depths", config.tasks, hint="leave it out: what they ask for is all over the text")
    if not config.answers and config.needle is not None:
        raise UsageError(
            "--needle without --answer: answers would be held to those of our own needle",
            hint="--answer TEXT, for each thing that an answer must have",
        )
    texts = {
        "--needle": [config.needle or ""],
        "--question": [config.question or ""],
        "--answer": config.answers,
    }
    drawn = {name for flag, ones in texts.items() for one in ones for name in gkamradt.drawn_in(flag, one)}
    if own["--values"] and "value" not in drawn:
        raise UsageError("--values: there is no {value} in --needle", hint="--needle 'The key is {value}.'")
    if own["--words"] and not ("key" in drawn or ("value" in drawn and config.values == "words")):
        raise UsageError("--words: no word is drawn for --needle", hint="--needle '{key} is {value}.'")


def _hides_in_text(task: str) -> bool:
    return task == "needle" or (task in NIAH and NIAH[task].hay == "text")


def _unread(flag: str, tasks: tuple[str, ...], *, hint: str) -> UsageError:
    return UsageError(f"{flag}: not read by {', '.join(tasks)}", hint=hint)


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
