"""Flags whose value may be left out."""

from pathlib import Path
from typing import Annotated

import pytest
import typer

from llmkit.commands.base import build_command
from llmkit.commands.optional_value import FILE_OR_STDIN, OptionalValue, is_file_word, spell_out

LEVEL = OptionalValue("9", str.isdecimal, int)


def _command(
    name: Annotated[str | None, typer.Argument()] = None,
    rows: Annotated[Path | None, typer.Option("--rows", parser=FILE_OR_STDIN)] = None,
    level: Annotated[int | None, typer.Option("--level", parser=LEVEL)] = None,
    loud: Annotated[bool, typer.Option("--loud")] = False,
    text: Annotated[str | None, typer.Option("--text")] = None,
) -> None:
    """Do.

    \b
    Examples:
      llmkit do
    """


COMMAND = build_command("do", _command)


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        (["--rows", "--loud"], ["--rows=-", "--loud"]),
        (["--rows"], ["--rows=-"]),
        (["--rows", "a", "b"], ["--rows", "a", "b"]),
        (["--rows", "-"], ["--rows", "-"]),
        (["--rows=a"], ["--rows=a"]),
        (["--level", "x"], ["--level=9", "x"]),
        (["--level", "3", "x"], ["--level", "3", "x"]),
        (["x", "--", "--level"], ["x", "--", "--level"]),
        (["--loud", "x"], ["--loud", "x"]),
        (["--text", "--rows", "x"], ["--text", "--rows", "x"]),
        (["--loud", "--rows"], ["--loud", "--rows=-"]),
        (["--rows", "--level"], ["--rows=-", "--level=9"]),
    ],
)
def test_a_value_that_is_left_out_is_spelled_out(words: list[str], spelled: list[str]) -> None:
    assert spell_out(COMMAND.params, words) == spelled


def test_the_command_gets_what_was_meant() -> None:
    with COMMAND.make_context("do", ["--level", "x", "--rows", "--loud"]) as ctx:
        given = {name: ctx.params[name] for name in ("name", "rows", "level", "loud")}
        assert given == {"name": "x", "rows": Path("-"), "level": 9, "loud": True}
    with COMMAND.make_context("do", ["--level", "3"]) as ctx:
        assert (ctx.params["level"], ctx.params["rows"]) == (3, None)


@pytest.mark.parametrize(("value", "level"), [("true", 9), ("false", None), ("4", 4)])
def test_a_settings_file_may_say_true_and_false(tmp_path: Path, value: str, level: int | None) -> None:
    (tmp_path / "s.toml").write_text(f"level = {value}\n")
    with COMMAND.make_context("do", ["--config", str(tmp_path / "s.toml")]) as ctx:
        assert ctx.params["level"] == level


def test_a_dash_alone_is_a_file_and_a_flag_is_none() -> None:
    assert is_file_word("-") and is_file_word("a.jsonl") and not is_file_word("--loud")
