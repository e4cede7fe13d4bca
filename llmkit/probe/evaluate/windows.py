"""Which tokens of a long text a model reads at a time, and which of them are scored.

A model has a context; a text may be longer. Each window is read by itself, and every token of the text is
scored in at most one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmkit.errors import DataError, UsageError
from llmkit.formats.amount_text import plural


@dataclass(frozen=True)
class Window:
    """A part of a text's ids, as places in the text."""

    begin: int
    end: int
    first: int
    """The first one that is scored; what stands before it in the window is only read."""

    @property
    def scored(self) -> int:
        """How many."""
        return self.end - self.first

    def ids(self, text: Sequence[int], first_id: int | None = None) -> list[int]:
        """What the model reads; `first_id`: in place of the window's first token."""
        found = list(text[self.begin : self.end])
        return found if first_id is None else [first_id, *found[1:]]


def sliding_windows(count: int, *, window: int, stride: int) -> Iterator[Window]:
    """Windows that overlap by window - stride tokens, which the later one only reads.

    As in transformers' guide to the perplexity of models of a fixed length: a window's first token has
    nothing before it and is not scored, also where stride is window and it was in no earlier one.

    Args:
        count: tokens of the text.
        window: tokens of a window at most.
        stride: tokens between the beginnings of two.

    Raises:
        UsageError: in a window of one token nothing is scored; a stride beyond the window would leave tokens
            out.
    """
    if window < 2:
        raise UsageError(f"--window {window}: nothing is scored in it", hint="--window 2, or more")
    if not 1 <= stride <= window:
        raise UsageError(
            f"--stride {stride}: a stride is from 1 to the window of {window}",
            hint="leave --stride out for half a window",
        )
    before = 0
    for begin in range(0, count, stride):
        end = min(begin + window, count)
        found = Window(begin, end, max(before, begin + 1))
        if found.scored > 0:
            yield found
        before = end
        if end == count:
            return


def chunk_windows(count: int, *, window: int, name: str = "the text") -> list[Window]:
    """Chunks side by side, of each of which the second half is scored: llama-perplexity's definition.

    What is left at the end, less than a chunk, is left out. With n tokens in a chunk n - 1 - n // 2 are
    scored, since llama.cpp counts the places that predict them: n // 2 to n - 2.

    Args:
        count: tokens of the text.
        window: tokens of a chunk.
        name: of the text, for errors.

    Raises:
        DataError: the text has less than two chunks, which llama-perplexity refuses.
        UsageError: chunks of which nothing would be scored.
    """
    if window < 4:
        raise UsageError(
            f"--window {window}: nothing to score in its second half", hint="--window 4, or more"
        )
    if count < 2 * window:
        raise DataError(
            f"{name}: {plural(count, 'token')}, and two chunks of {window:,} are the least",
            hint="give it more text, or a smaller --window",
        )
    return [
        Window(begin, begin + window, begin + window // 2 + 1)
        for begin in range(0, count - window + 1, window)
    ]
