"""Texts that end by their lines."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from llmkit.server.answer import Piece
from llmkit.server.ask import LineRule
from llmkit.server.lines import by_lines


def cut(rule: LineRule, *texts: str, times: Sequence[float] = ()) -> tuple[list[str], str | None, int]:
    """Texts that come out, how the last ended, and how many were asked for."""
    asked, clock = 0, iter(times)

    async def pieces() -> AsyncGenerator[Piece]:
        nonlocal asked
        for place, text in enumerate(texts):
            asked += 1
            yield Piece(0, text, finish="stop" if place == len(texts) - 1 else None)

    async def go() -> list[Piece]:
        told = by_lines(pieces(), rule, clock=lambda: next(clock, 0.0))
        return [piece async for piece in told]

    found = asyncio.run(go())
    return [piece.text for piece in found], found[-1].finish, asked


@pytest.mark.parametrize(
    ("texts", "kept", "finish"),
    [
        (("x = 1", "\n    y\n", "z", "w"), ["x = 1", "\n    y\n", ""], "length"),  # z stands at the margin
        (("1\n   y", "z"), ["1\n   "], "length"),  # three spaces
        (("1\n  ", "  y", "\n\t\t\t\tz"), ["1\n  ", "  y", "\n\t\t\t\tz"], "stop"),
        (("a\n\n    b", "c"), ["a\n"], "length"),  # an empty line has no spaces either
        (("no lines", " at all"), ["no lines", " at all"], "stop"),
    ],
)
def test_a_line_with_fewer_spaces_is_cut_off_and_ends_the_text(
    texts: tuple[str, ...], kept: list[str], finish: str
) -> None:
    assert cut(LineRule(indent=4), *texts) == (kept, finish, len(kept))
    assert cut(LineRule(), *texts) == (list(texts), "stop", len(texts))


def test_a_text_is_late_by_its_first_token_once_a_second_line_has_begun() -> None:
    texts = ("a", "b", "\nc", "d", "e")
    assert cut(LineRule(seconds=5), *texts, times=(1, 9, 9, 9))[0] == ["a", "b", "\nc"]
    assert cut(LineRule(seconds=5), *texts, times=(1, 2, 7)) == (["a", "b", "\nc", "d"], "length", 4)
    assert cut(LineRule(seconds=5), *texts, times=(1, 2, 3, 4)) == (list(texts), "stop", 5)
