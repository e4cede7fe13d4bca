"""A needle in a haystack as gkamradt/LLMTest_NeedleInAHaystack has it, with answers that need no judge.

The hay is the beginning of a text, in tokens. The needle goes in at int(tokens · depth / 100), walked back to
the end of the sentence before; at depth 100 it stands at the end. The question and the answer take the place
of the original's buffer of 200 tokens.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import Formatter

from llmkit.errors import UsageError
from llmkit.probe.evaluate.hidden import Build, Hidden
from llmkit.probe.evaluate.words import WORDS, number, pick, uuid

NEEDLE = "\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.\n"
QUESTION = "\n\nQuestion: What is the best thing to do in San Francisco?\nAnswer:"
ANSWERS = ("eat a sandwich", "Dolores Park")
"""What the answer should have, where the original asks a model for a grade."""


@dataclass(frozen=True, kw_only=True)
class Needle:
    """What is hidden, and what is asked behind the text."""

    needle: str = NEEDLE
    """May have {key} and {value}, drawn anew for each prompt."""
    question: str = QUESTION
    answers: tuple[str, ...] = ANSWERS
    values: str = "words"
    """What {value} is: words, numbers or uuids."""
    words: int | None = None
    """Keys and words are of the first so many of the list; None: of all."""

    def __post_init__(self) -> None:
        drawn_in("--needle", self.needle)
        drawn_in("--question", self.question)
        for answer in self.answers:
            drawn_in("--answer", answer)
        if self.words is not None and not 2 <= self.words <= len(WORDS):
            raise UsageError(f"--words {self.words}: the list has {len(WORDS)}", hint="--words 32")


def drawn_in(flag: str, text: str) -> set[str]:
    """Which of key and value stand in a text.

    Args:
        flag: whose it is.
        text: may have {key} and {value}, and doubled braces.

    Raises:
        UsageError: it has other braces: what they make of a word is known only when one is drawn.
    """
    try:
        fields = [(name, rest) for _, name, *rest in Formatter().parse(text) if name is not None]
    except ValueError:
        fields = [("", [])]
    if any(name not in ("key", "value") or any(rest) for name, rest in fields):
        raise UsageError(
            f"{flag}: has other braces than {{key}} and {{value}} (found {text!r})",
            hint="double a brace that is meant as one: {{",
        )
    return {name for name, _ in fields}


@dataclass(frozen=True)
class Tokens:
    """A text as ids, and how ids and text go over into each other."""

    encode: Callable[[str], list[int]]
    """Without special tokens."""
    decode: Callable[[Sequence[int]], str]
    hay: tuple[int, ...]

    def take(self, count: int) -> list[int]:
        """So many ids, from the beginning; a text that is too short is said again."""
        times = -(-count // len(self.hay))
        return list((self.hay * times)[:count])


def hide(task: Needle, generator: random.Random, depth: float, tokens: Tokens) -> Build:
    """A prompt for any amount of hay, in tokens.

    Args:
        task: what is hidden.
        generator: draws key and value.
        depth: 0 to 1.
        tokens: the hay.
    """
    words = WORDS[: task.words]
    drawn = {"key": pick(generator, words), "value": _draw(generator, task.values, words)}
    needle, question = task.needle.format(**drawn), task.question.format(**drawn)
    answers = tuple(one.format(**drawn) for one in task.answers)
    ends: dict[int, bool] = {}

    def ends_sentence(one: int) -> bool:
        if one not in ends:
            ends[one] = tokens.decode([one]).rstrip().endswith(".")
        return ends[one]

    def build(count: int) -> Hidden:
        hay = tokens.take(count)
        place = insertion(hay, depth, ends_sentence)
        context = tokens.decode(hay[:place]) + needle + tokens.decode(hay[place:])
        return Hidden(context + question, "", answers)

    return build


def insertion(hay: Sequence[int], depth: float, ends_sentence: Callable[[int], bool]) -> int:
    """Before which token the needle goes.

    Args:
        hay: ids.
        depth: 0 to 1.
        ends_sentence: whether an id is a full stop.
    """
    if depth >= 1:
        return len(hay)
    place = int(len(hay) * depth)
    while place and not ends_sentence(hay[place - 1]):
        place -= 1
    return place


def _draw(generator: random.Random, kind: str, words: Sequence[str]) -> str:
    if kind == "words":
        return pick(generator, words)
    return number(generator) if kind == "numbers" else uuid(generator)
