"""A report as text for people: a line that names the thing, then its facts, wrapped to the width."""

import textwrap

Facts = list[tuple[str, str | None]]


def facts_lines(facts: Facts, width: int) -> list[str]:
    """`name  what`, indented, wrapped to the width; facts that are None are left out."""
    known = [(name, what) for name, what in facts if what is not None]
    column = max((len(name) for name, _ in known), default=0)
    lines = []
    for name, what in known:
        lines += textwrap.wrap(
            what,
            width,
            initial_indent=f"  {name:<{column}}  ",
            subsequent_indent=" " * (column + 4),
            break_long_words=False,
            break_on_hyphens=False,
        ) or [f"  {name}"]
    return lines


def title_line(path: str, kind: str, detail: str | None = None) -> str:
    """`PATH: kind, detail`: the first line of a report."""
    return f"{path}: {kind}" + (f", {detail}" if detail else "")


def indented(text: str) -> list[str]:
    """The lines of a text, two columns to the right."""
    return [f"  {line}".rstrip() for line in text.split("\n")]


def plural(count: int | None, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
