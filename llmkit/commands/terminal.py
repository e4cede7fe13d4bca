"""How wide a report for people may be, and how wide a text is."""

import shutil
import sys
import unicodedata

NARROWEST, WIDEST = 40, 110
OFF_TERMINAL = 80


def text_width() -> int:
    """Columns of the terminal on stdout, within reason; 80 where stdout is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return OFF_TERMINAL
    return min(max(shutil.get_terminal_size((OFF_TERMINAL, 24)).columns, NARROWEST), WIDEST)


def columns_of(text: str) -> int:
    """How many columns a text takes on a terminal: two for 日, none for an accent of its own."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of_one, text))


def _columns_of_one(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
