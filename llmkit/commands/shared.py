"""Options and reports that several subcommands share."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from llmkit.commands.facts import visible
from llmkit.commands.table import table_lines
from llmkit.commands.terminal import columns_of, terminal_columns, wrap_words
from llmkit.commands.values import parse_seconds, parse_size
from llmkit.errors import UsageError
from llmkit.formats.json_text import encode_json
from llmkit.formats.jsonl import encode_line
from llmkit.formats.streams import STDIO

ESCAPE = "\x1b"

JsonReport = Annotated[bool, Option("--json", help="The report as one JSON object.")]
Force = Annotated[bool, Option("--force", help="Replace an existing output.")]
DryRun = Annotated[bool, Option("--dry-run", "-n", help="Print the plan and write nothing.")]
Seed = Annotated[int, Option("--seed", help="Seed of everything random.")]
LogEvery = Annotated[
    float,
    Option(
        "--log-every", parser=parse_seconds, metavar="TIME", help="Between progress lines, off a terminal."
    ),
]
MaxShardSize = Annotated[
    int | None,
    Option(
        "--max-shard-size",
        metavar="SIZE",
        parser=parse_size,
        help="Of a file; default 5G, or one GGUF file.",
    ),
]
SkipBad = Annotated[bool, Option("--skip-bad", help="Count malformed lines and go on.")]
Rejects = Annotated[
    Path | None, Option("--rejects", metavar="FILE", help="Keep malformed lines here, with the reason.")
]


def inputs_or_stdin(inputs: list[Path] | None, usage: str) -> list[Path]:
    """The given paths; stdin when none was given and something is piped in.

    Raises:
        UsageError: nothing given and stdin is a terminal. `usage` is a line that works.
    """
    if inputs:
        return inputs
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no input: name a file, or pipe something in", hint=usage)
    return [STDIO]


def given_once(places: Mapping[str, Any]) -> Any:
    """What one of several places says, None where none does: an argument, and an option that means the same.

    Args:
        places: what each says, by its name: `MODEL`, `--model`.

    Raises:
        UsageError: two of them say something.
    """
    named = [name for name, value in places.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{named[0]} and {named[1]} say the same thing twice", hint="give one of them")
    return places[named[0]] if named else None


def print_report(report: Any, as_json: bool, to_text: Callable[[Any], str], *, quiet: bool = False) -> None:
    """A report on stdout: one JSON object with its schema, or text for people.

    Args:
        report: a dataclass or msgspec struct with a `schema` field such as "llmkit.pack/1".
        as_json: the JSON form.
        to_text: makes the text form, without a trailing newline.
        quiet: leave out the text, of what is in a file or a folder by now; JSON was asked for.
    """
    if as_json:
        sys.stdout.buffer.write(encode_json(report) + b"\n")
        sys.stdout.buffer.flush()
    elif not quiet:
        sys.stdout.write(fitted(to_text(report)) + "\n")
        sys.stdout.flush()


def fitted(text: str) -> str:
    """A text whose lines a terminal would break where it ends, in a word or a number, broken at blanks."""
    columns = terminal_columns()
    if columns is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _fitted(line, columns))


def _fitted(line: str, columns: int) -> list[str]:
    if columns_of(line) <= columns or ESCAPE in line:  # what has colours was made for the width
        return [line]
    margin = len(line) - len(line.lstrip(" "))
    return wrap_words(line, columns, after=" " * (margin + 4))


def print_lines(records: Iterable[Any]) -> None:
    """Records on stdout as JSON lines, each flushed where a person is watching."""
    watched = sys.stdout.isatty()
    for record in records:
        sys.stdout.buffer.write(encode_line(record))
        if watched:
            sys.stdout.buffer.flush()
    sys.stdout.buffer.flush()


def print_all(records: Iterable[Any], as_json: bool, to_text: Callable[[list[Any]], str]) -> None:
    """Records on stdout: as JSON lines, or all of them as one text for people."""
    if as_json:
        print_lines(records)
    else:
        print(fitted(to_text(list(records))), flush=True)


def align(
    rows: Sequence[tuple[str, ...]],
    *,
    right: tuple[int, ...] = (),
    indent: int = 0,
    width: int | None = None,
) -> str:
    """Rows as columns two spaces apart; on a terminal they are folded where it ends, see `table_lines`.

    Control characters stand as escapes: a cell may be a name or a piece of somebody's data.

    Args:
        rows: as many cells each.
        right: numbers of the columns that are flush right.
        indent: blanks before each line.
        width: of a line with them; None: the terminal's, and any off a terminal.
    """
    shown = [[visible(cell) for cell in row] for row in rows]
    columns = terminal_columns() if width is None else width
    lines = table_lines(shown, right=right, room=None if columns is None else columns - indent)
    return "\n".join(" " * indent + line if line else line for line in lines)
