"""How wide a report for people may be, and how wide a text is."""

import shutil
import sys
import unicodedata

NARROWEST, WIDEST = 40, 110
OFF_TERMINAL = 80


def text_width() -> int:
    """Columns of the terminal on stdout, within reason; 80 where stdout is none."""
    columns = terminal_columns()
    return OFF_TERMINAL if columns is None else min(columns, WIDEST)


def terminal_columns() -> int | None:
    """Columns of the terminal on stdout, at least 40; None where stdout is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size((OFF_TERMINAL, 24)).columns, NARROWEST)


def columns_of(text: str) -> int:
    """How many columns a text takes on a terminal: two for 日, none for an accent of its own."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of_one, text))


def wrap_words(text: str, room: int, *, after: str = "") -> list[str]:
    """A text in lines of at most `room` columns, broken at blanks; `after` begins all but the first.

    A word longer than that stays whole and where it is, so that it can be copied.
    """
    first, *words = text.split(" ")
    lines = [first]
    for word in words:
        width = columns_of(word)
        if columns_of(lines[-1]) + 1 + width <= room or len(after) + width > room:
            lines[-1] += f" {word}"
        else:
            lines.append(after + word)
    return lines


def _columns_of_one(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
