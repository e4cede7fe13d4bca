"""A prompt with something hidden in it, made to measure: as much hay as leaves room for the answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from llmkit.errors import DataError, UsageError


@dataclass(frozen=True)
class Hidden:
    """What a model reads, and what it should find in it."""

    prompt: str
    prefix: str
    """The beginning of the answer, which is given."""
    answers: tuple[str, ...]
    """All of which belong into the answer."""


Build = Callable[[int], Hidden]
"""The prompt with so many pieces of hay; more pieces never make it shorter."""


@dataclass(frozen=True)
class Hay:
    """Text to hide things in."""

    sentences: tuple[str, ...] = ()
    """Of a text, each with its full stop; none: there is no text."""

    def take(self, count: int) -> list[str]:
        """So many sentences, from the beginning; a text that is too short is said again."""
        return list(islice(cycle(self.sentences), count))


def split_sentences(text: str) -> Iterator[str]:
    """The sentences of a text, on one line each: they end with a full stop, or ? or !."""
    begin = 0
    text = " ".join(text.split())
    for place, letter in enumerate(text):
        if letter in ".!?" and (place + 1 == len(text) or text[place + 1] == " "):
            yield text[begin : place + 1].strip()
            begin = place + 1
    if text[begin:].strip():
        yield text[begin:].strip()


def insert(sentences: Sequence[str], needles: Sequence[tuple[float, str]]) -> list[str]:
    """Put needles between sentences: at int(count · depth), as RULER and gkamradt have it.

    Args:
        sentences: the hay.
        needles: each with its depth, 0 to 1: 0 stands before all hay, 1 behind it.
    """
    count = len(sentences)
    places = sorted((int(count * depth), number, text) for number, (depth, text) in enumerate(needles))
    result = list(sentences)
    for place, _, text in reversed(places):
        result.insert(place, text)
    return result


def fit(build: Build, tokens: Callable[[Hidden], int], most: int, *, least: int, guess: int = 1) -> int:
    """The most pieces of hay with which a prompt has at most so many tokens.

    Args:
        build: makes the prompt.
        tokens: of a prompt, the given beginning of its answer included.
        most: tokens.
        least: pieces.
        guess: pieces, about.

    Raises:
        UsageError: not even the least fit.
    """
    guess = max(guess, least)
    if (smallest := tokens(build(least))) > most:
        raise UsageError(
            f"the prompt has {smallest:,} tokens with the least hay, and {most:,} are left for it",
            hint="greater --lengths, or smaller --max-tokens",
        )
    low, high, step = least, guess, 1
    while tokens(build(high)) <= most:
        low, high, step = high, high + step, 2 * step
        if high > 100 * most:
            raise DataError("more hay makes the prompt no longer", hint="give it another --haystack")
    step = 1
    while low == least and high - step > least:  # the guess was too much: from there down
        if tokens(build(high - step)) <= most:
            low = high - step
            break
        high, step = high - step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        if tokens(build(middle)) <= most:
            low = middle
        else:
            high = middle
    return low
