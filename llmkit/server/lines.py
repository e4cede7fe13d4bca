"""Texts that end by their lines, as those do that fill gaps in programs.

Source: llama.cpp, tools/server/README.md, `n_indent` and `t_max_predict_ms`.
"""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from llmkit.server.answer import Piece
from llmkit.server.ask import LineRule


async def by_lines(
    pieces: AsyncGenerator[Piece], rule: LineRule, *, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[Piece]:
    """The pieces of a text up to the one that ends it, which is then told to have come to its length.

    Args:
        pieces: without scores; no more is asked for behind the last.
        rule: what ends it.
        clock: seconds.
    """
    lines = _Lines(rule.indent)
    began: float | None = None
    async with aclosing(pieces):
        async for piece in pieces:
            began = clock() if began is None else began
            kept = lines.kept(piece.text)
            late = bool(rule.seconds) and lines.has_several and clock() - began > rule.seconds
            if kept is not None or (late and piece.finish is None):
                text = piece.text if kept is None else piece.text[:kept]
                yield replace(piece, text=text, finish="length", matched=None)
                return
            yield piece


class _Lines:
    """Where the lines of a text begin.

    Attributes:
        has_several: whether a second one has begun.
    """

    def __init__(self, indent: int) -> None:
        self.has_several = False
        self._indent = indent
        self._lead: int | None = None
        """Spaces and tabs of the present line; None: its first letter has come, or it is the gap's own."""

    def kept(self, text: str) -> int | None:
        """How many letters of what comes next belong to the text; None: all of them."""
        for place, letter in enumerate(text):
            if self._lead is not None:
                if letter in " \t":
                    self._lead += 1
                    continue
                if self._lead < self._indent:
                    return place
                self._lead = None
            if letter == "\n":
                self._lead, self.has_several = 0, True
        return None
