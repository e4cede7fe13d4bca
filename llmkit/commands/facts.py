"""A report as text for people: a line that names the thing, then its facts, wrapped to the width."""

import textwrap
from collections.abc import Sequence
from typing import Any

from llmkit.errors import visible as visible
from llmkit.formats.amount_text import plural as plural

Facts = list[tuple[str, str | Sequence[str] | None]]
"""A name and what is to be said; a list of items is broken between items where they fit. None is left out."""
UNBROKEN = "\N{NO-BREAK SPACE}"


def facts_lines(facts: Facts, width: int) -> list[str]:
    """`name  what`, indented, wrapped to the width; facts that are None or empty are left out."""
    column = max((len(name) for name, what in facts if what), default=0)
    known = [(name, visible(_joined(what, width - column - 4))) for name, what in facts if what]
    lines = []
    for name, what in known:
        lines += textwrap.wrap(
            what,
            width,
            initial_indent=f"  {name:<{column}}  ",
            subsequent_indent=" " * (column + 4),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return [line.replace(UNBROKEN, " ") for line in lines]


def title_line(path: str, kind: str, detail: str | None = None) -> str:
    """`PATH: kind, detail`: the first line of a report."""
    return visible(f"{path}: {kind}" + (f", {detail}" if detail else ""))


def indented(text: str) -> list[str]:
    """The lines of a text, two columns to the right."""
    return [f"  {line}".rstrip() for line in text.split("\n")]


def _joined(what: str | Sequence[str], room: int) -> str:
    """Items in a row; one that no line has room for may be broken at its blanks."""
    if isinstance(what, str):
        return what
    return ", ".join(item.replace(" ", UNBROKEN) if len(item) < room else item for item in what)


def quoted(text: str) -> str:
    """A token so that its spaces show: a long run of one character as `'-' x 64`."""
    if len(text) > 8 and len(set(text)) == 1:
        return f"{text[0]!r} x {len(text)}"
    return repr(text if len(text) <= 32 else text[:31] + "…")


def kernels_of(told: Any) -> str:
    """What computes, by the `kernels` of a plan or of figures."""
    return "native kernels" if told.kernels == "native" else str(told.kernels)


def threads_of(processes: int, threads: int) -> str:
    """On how many threads a model runs, each of its processes."""
    each = plural(threads, "thread")
    return each if processes == 1 else f"{processes} processes of {each}"
