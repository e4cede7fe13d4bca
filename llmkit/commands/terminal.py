"""How wide a report for people may be."""

import shutil
import sys

NARROWEST, WIDEST = 40, 110
OFF_TERMINAL = 80


def text_width() -> int:
    """Columns of the terminal on stdout, within reason; 80 where stdout is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return OFF_TERMINAL
    return min(max(shutil.get_terminal_size((OFF_TERMINAL, 24)).columns, NARROWEST), WIDEST)
