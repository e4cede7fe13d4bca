"""Needles in a haystack, as RULER makes them (Hsieh et al. 2024, arXiv:2404.06654; synthetic/niah.py).

One of the special magic numbers for gentle-otter is: 4839201.

The first needle that is asked for stands at the depth of the cell, where RULER draws its place; the others
stand at random places, as there. Keys and words come from our own list.
"""

import random
from dataclasses import dataclass
from typing import Literal

from llmkit.errors import UsageError
from llmkit.probe.evaluate.hidden import Build, Hay, Hidden, insert
from llmkit.probe.evaluate.words import NOISE, QUALITIES, WORDS, number, pick, picks, uuid

Kind = Literal["numbers", "words", "uuids"]
HayKind = Literal["noise", "text", "needles"]
NEEDLE = "One of the special magic {kind} for {key} is: {value}."
_TEMPLATE = (
    "Some special magic {kind} are hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {kind} afterwards.\n{context}\n"
    "What are all the special magic {kind} for {query} mentioned in the provided text?"
)
_ONE = (
    "A special magic {kind} is hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {kind} afterwards.\n{context}\n"
    "What is the special magic {kind} for {query} mentioned in the provided text?"
)


@dataclass(frozen=True, kw_only=True)
class Niah:
    """One of RULER's eight."""

    hay: HayKind
    keys: int = 1
    values: int = 1
    """Of each key."""
    queries: int = 1
    """Keys asked for."""
    key_kind: Kind = "words"
    value_kind: Kind = "numbers"


NIAH = {
    "niah_single_1": Niah(hay="noise"),
    "niah_single_2": Niah(hay="text"),
    "niah_single_3": Niah(hay="text", value_kind="uuids"),
    "niah_multikey_1": Niah(hay="text", keys=4),
    "niah_multikey_2": Niah(hay="needles"),
    "niah_multikey_3": Niah(hay="needles", key_kind="uuids", value_kind="uuids"),
    "niah_multivalue": Niah(hay="text", values=4),
    "niah_multiquery": Niah(hay="text", keys=4, queries=4),
}


def hide(task: Niah, generator: random.Random, depth: float, hay: Hay) -> Build:
    """A prompt of the task, for any amount of hay: sentences of a text, else lines.

    Args:
        task: which.
        generator: draws keys, values and places; two with the same seed make the same prompts.
        depth: 0 to 1.
        hay: a text, for tasks that want one.

    Raises:
        UsageError: the task wants a text, and there is none.
    """
    if task.hay == "text" and not hay.sentences:
        raise UsageError("this task hides its needles in a text", hint="--haystack FILE.txt")
    keys: list[str] = []
    while len(keys) < task.keys:
        key = _draw(generator, task.key_kind)
        keys += [key] if key not in keys else []
    values = [[_draw(generator, task.value_kind) for _ in range(task.values)] for _ in keys]
    asked = picks(generator, range(task.keys), task.queries)
    first = asked[0]
    needles = []
    for index, key in enumerate(keys):
        for place, value in enumerate(values[index]):
            at = depth if index == first and place == 0 else generator.random()
            needles.append((at, NEEDLE.format(kind=task.value_kind, key=key, value=value)))
    answers = tuple(value for index in asked for value in values[index])
    query = _listed([keys[index] for index in asked])
    lines = _Lines(task, random.Random(generator.random()))

    def build(count: int) -> Hidden:
        pieces = hay.take(count) if task.hay == "text" else lines.take(count)
        context = (" " if task.hay == "text" else "\n").join(insert(pieces, needles))
        is_one = len(answers) == 1
        kind = task.value_kind[:-1] if is_one else task.value_kind
        template = _ONE if is_one else _TEMPLATE
        return Hidden(
            prompt=template.format(kind=kind, context=context, query=query),
            prefix=f" The special magic {kind} for {query} mentioned in the provided text "
            + ("is" if is_one else "are"),
            answers=answers,
        )

    return build


class _Lines:
    """Lines of hay: noise, or needles of other keys."""

    def __init__(self, task: Niah, generator: random.Random) -> None:
        self._task = task
        self._generator = generator
        self._lines: list[str] = []

    def take(self, count: int) -> list[str]:
        task = self._task
        while len(self._lines) < count:
            if task.hay == "noise":
                self._lines.append(" ".join(NOISE))
                continue
            key, value = _draw(self._generator, task.key_kind), _draw(self._generator, task.value_kind)
            self._lines.append(NEEDLE.format(kind=task.value_kind, key=key, value=value))
        return self._lines[:count]


def _draw(generator: random.Random, kind: Kind) -> str:
    if kind == "numbers":
        return number(generator)
    if kind == "uuids":
        return uuid(generator)
    return f"{pick(generator, QUALITIES)}-{pick(generator, WORDS)}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + ", and " + names[-1]
