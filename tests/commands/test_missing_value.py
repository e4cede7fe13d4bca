"""Flags whose value is missing take no other flag for it."""

from pathlib import Path
from typing import Annotated

import pytest
import typer

from llmkit.commands.base import build_command
from llmkit.commands.optional_value import FILE_OR_STDIN
from llmkit.errors import UsageError


def _command(
    name: Annotated[str | None, typer.Argument()] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
    rows: Annotated[Path | None, typer.Option("--rows", parser=FILE_OR_STDIN)] = None,
    force: Annotated[bool, typer.Option("--force", "-f")] = False,
    mask: Annotated[bool, typer.Option("--mask/--no-mask")] = True,
) -> None:
    """Do.

    \b
    Examples:
      llmkit do
    """


COMMAND = build_command("do", _command)


@pytest.mark.parametrize(
    ("words", "flag", "taken"),
    [
        ("-o --force", "-o", "--force"),
        ("x --out -f", "--out", "-f"),
        ("--out --out y", "--out", "--out"),
        ("--out --no-mask", "--out", "--no-mask"),
        ("-o --quiet", "-o", "--quiet"),
        ("-o --rows", "-o", "--rows"),
        ("-o -h", "-o", "-h"),
    ],
)
def test_a_flag_is_no_value_of_the_flag_before_it(words: str, flag: str, taken: str) -> None:
    problem = f"do: option '{flag}' requires an argument, and '{taken}' is"
    with pytest.raises(UsageError, match=problem) as raised:
        COMMAND.make_context("do", words.split())
    spelled = raised.value.hint.split(": ")[1]
    with COMMAND.make_context("do", [spelled]) as ctx:
        assert ctx.params["out"] == Path(taken)


@pytest.mark.parametrize(
    "words",
    ["--force x", "-o x --force", "-o -", "-o --other", "--out=--force", "--rows --force", "-o x -- --force"],
)
def test_what_is_no_flag_of_the_command_or_stands_alone_is_left(words: str) -> None:
    with COMMAND.make_context("do", words.split()):
        pass


def test_completion_is_told_nothing() -> None:
    with COMMAND.make_context("do", ["-o", "--force"], resilient_parsing=True) as ctx:
        assert ctx.params["out"] == Path("--force")
