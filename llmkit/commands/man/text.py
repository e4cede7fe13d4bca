"""Manual pages as roff: the man macros that groff and mandoc share."""

import re
from collections.abc import Iterable

from llmkit.commands.documentation import COMMON_FLAGS, EXIT_STATUSES, CommandPage, Flag
from llmkit.version import __version__

STREAMS = (
    "Standard output carries only the result; progress, notes and errors go to standard error. An input "
    "named - is standard input, which is also read when no input is named and something is piped in. Files "
    "ending in .zst and .gz are written compressed, and compressed input is recognised by its content. "
    "Records are read from files called .jsonl or .ndjson, one a line. Text, Markdown, markup and source "
    "code are one document a file. Where a name does not tell (.json, another suffix, none), the first two "
    "lines do: both are JSON objects, or the file is one document. A file that is one JSON array of records "
    "is an error."
)
ERRORS = (
    "An error is two lines on standard error: where and what, then a hint with the command or flag that "
    "fixes it. Outputs appear whole or not at all, and an existing one is kept unless --force is given."
)
NUMBERS = "Counts and sizes are read as 512, 64k (64,000), 64Ki (65,536), 2M, 24GiB or 1e9."
ENVIRONMENT = (
    ("NO_COLOR", "never colour, like --color never"),
    ("FORCE_COLOR", "colour also where the output is not a terminal, except under GITHUB_ACTIONS"),
    ("TERM", "dumb: no colour and no progress bars"),
)


def man_page(page: CommandPage, pages: list[CommandPage]) -> str:
    """The manual page of one command.

    Args:
        page: the command.
        pages: all of them, for cross references.
    """
    lines = [f'.TH {_roff(page.title.upper())} 1 "" "llmkit {__version__}" "llmkit manual"', ".nh", ".ad l"]
    lines += [".SH NAME", f"{_roff(page.title)} \\- {_roff(_name_line(page))}"]
    lines += [".SH SYNOPSIS", *_synopsis(page)]
    lines += [".SH DESCRIPTION", *_description(page)]
    if page.subcommands:
        lines += [".SH COMMANDS", *_commands(page)]
    if page.arguments:
        lines += [".SH ARGUMENTS", *_flags(page.arguments)]
    lines += [".SH OPTIONS", *_flags(_own_flags(page))]
    common = [flag for flag in page.options if flag not in _own_flags(page)]
    if common:
        lines += [".SS Options of every command", *_flags(tuple(common))]
    if page.examples:
        lines += [".SH EXAMPLES", *_verbatim(page.examples)]
    lines += [".SH EXIT STATUS", *_table(tuple((str(code), text) for code, text in EXIT_STATUSES))]
    if not page.path:
        lines += [".SH STREAMS", _roff(STREAMS), ".SH ERRORS", _roff(ERRORS), ".SH NUMBERS", _roff(NUMBERS)]
        lines += [".SH ENVIRONMENT", *_table(ENVIRONMENT)]
    lines += [".SH SEE ALSO", *_see_also(page, pages)]
    return "\n".join(lines) + "\n"


def _name_line(page: CommandPage) -> str:
    text = page.blocks[0].text.rstrip(".")
    return text[0].lower() + text[1:]


def _synopsis(page: CommandPage) -> list[str]:
    command, _, rest = page.usage.partition(" [") if " [" in page.usage else (page.command, "", "")
    return [f"\\fB{_roff(command)}\\fR {_roff('[' + rest) if rest else ''}".rstrip()]


def _description(page: CommandPage) -> list[str]:
    lines: list[str] = []
    for number, block in enumerate(page.blocks):
        lines += [".PP"] * (number > 0)
        lines += _verbatim(block.text.split("\n")) if block.verbatim else [_roff(block.text)]
    return lines


def _verbatim(lines: Iterable[str]) -> list[str]:
    """Lines as they stand, indented little: 76 columns fit a terminal of 80."""
    return [".in 3n", ".nf", *map(_roff, lines), ".fi", ".in"]


def _commands(page: CommandPage) -> list[str]:
    rows = []
    for name, text in page.subcommands:
        rows += [".TP", f"\\fB{_roff(f'{page.title}-{name}')}\\fR(1)", _roff(text)]
    return rows


def _own_flags(page: CommandPage) -> tuple[Flag, ...]:
    return tuple(flag for flag in page.options if not page.path or flag.name not in COMMON_FLAGS)


def _flags(flags: tuple[Flag, ...]) -> list[str]:
    lines = []
    for flag in flags:
        names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in flag.names)
        value = f"\\fI{_roff(flag.metavar.strip('<>'))}\\fR" if flag.metavar else ""
        lines += [".TP", " ".join(part for part in (names, value) if part), _roff(flag.help) or "\\&"]
        if flag.choices and not set(flag.choices) <= set(re.split(r"[<|>]", flag.metavar)):
            is_open = "…" in flag.help or flag.metavar == "LIST"
            word = "Such as" if is_open else "One of"
            lines += [".br", _roff(f"{word}: {', '.join(flag.choices)}.")]
    return lines


def _table(rows: tuple[tuple[str, str], ...]) -> list[str]:
    return [line for name, text in rows for line in (".TP", f"\\fB{_roff(name)}\\fR", _roff(text))]


def _see_also(page: CommandPage, pages: list[CommandPage]) -> list[str]:
    titles = [other.title for other in pages if other is not page and (not page.path or len(other.path) < 2)]
    return [f"\\fB{_roff(title)}\\fR(1)" + ("," if title != titles[-1] else "") for title in titles]


def _roff(text: str) -> str:
    """Plain text as roff: hyphens that can be copied, no accidental requests, ASCII only."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = "".join(character if ord(character) < 128 else f"\\[u{ord(character):04X}]" for character in text)
    return f"\\&{text}" if text[:1] in (".", "'") else text
