"""A command that takes its flags in groups, run as typer runs it."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
from typer import Argument, BadParameter, Option

from llmkit.commands.base import build_command
from llmkit.commands.flag_group import with_flag_groups

Count = Annotated[int, Option("--count", "-n", min=1, help="How many.")]


@dataclass(frozen=True, kw_only=True)
class Paint:
    """How it looks."""

    count: Count = 2
    shade: Annotated[str, Option(help="Which.")] = "red"


@with_flag_groups
def draw(
    name: Annotated[str, Argument(help="What.")],
    *,
    size: Annotated[int, Option(help="How large.")] = 1,
    paint: Paint,
    last: Annotated[bool, Option("--last", help="No more.")] = False,
) -> None:
    """Draw it."""
    print(name, size, paint, last)


def test_the_flags_of_a_group_stand_in_its_place() -> None:
    assert list(inspect.signature(draw).parameters) == ["name", "size", "count", "shade", "last"]
    assert draw.__doc__ == "Draw it."


def run(*words: str) -> None:
    command = build_command("draw", draw)
    with command.make_context("llmkit draw", list(words)) as ctx:
        command.invoke(ctx)


@pytest.mark.parametrize(
    ("words", "paint"), [((), Paint()), (("-n", "3", "--shade", "blue"), Paint(count=3, shade="blue"))]
)
def test_a_group_comes_as_one_with_its_defaults_where_nothing_is_given(
    words: tuple[str, ...], paint: Paint, capsys: pytest.CaptureFixture[str]
) -> None:
    run("x", *words, "--last")
    assert capsys.readouterr().out == f"x 1 {paint} True\n"


def test_what_a_flag_of_a_group_refuses_is_refused() -> None:
    with pytest.raises(BadParameter, match="'0' is below 1"):
        run("x", "-n", "0")
