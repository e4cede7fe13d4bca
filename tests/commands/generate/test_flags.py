"""The flags of generate: none is left over, and a prompt comes from one place."""

import os
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, get_origin, get_type_hints

import pytest

from llmkit.commands.generate import flags as generate_flags
from llmkit.commands.generate.flags import Prompts
from llmkit.commands.generate.generate import generate
from llmkit.errors import UsageError
from llmkit.formats.streams import STDIO


def test_every_flag_is_one_of_the_command() -> None:
    used = list(get_type_hints(generate, include_extras=True).values())
    used += [one.type for group in used if is_dataclass(group) for one in fields(group)]
    flags = {
        name: value
        for name, value in vars(generate_flags).items()
        if get_origin(value) is Annotated or (isinstance(value, type) and is_dataclass(value))
    }
    flags.pop("GenerateConfig")  # it is where defaults come from
    assert [name for name, value in flags.items() if value not in used] == []
    assert flags.keys() >= {"ChatPrompt", "Prompts", "Stats", "Records", "Unbuffered"}


@pytest.mark.parametrize(
    ("prompts", "found"),
    [
        (Prompts(text="a"), ("a", None, None)),
        (Prompts(prompt="a"), ("a", None, None)),
        (Prompts(prompt=""), ("", None, None)),
        (Prompts(text="-"), (None, STDIO, None)),
        (Prompts(prompt="-"), (None, STDIO, None)),
        (Prompts(file=Path("a")), (None, Path("a"), None)),
        (Prompts(jsonl=Path("a")), (None, None, Path("a"))),
    ],
)
def test_a_prompt_comes_from_the_place_that_was_named(prompts: Prompts, found: tuple[object, ...]) -> None:
    assert prompts.one_of_them() == found


def test_two_prompts_are_refused_with_both_their_names() -> None:
    with pytest.raises(UsageError, match="--file and --jsonl are two prompts"):
        Prompts(file=Path("a"), jsonl=Path("b")).one_of_them()


def test_rows_are_piped_in_and_not_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    main, terminal = os.openpty()
    with os.fdopen(terminal) as tty:
        monkeypatch.setattr(sys, "stdin", tty)
        with pytest.raises(UsageError, match="pipe something in"):
            Prompts(jsonl=STDIO).one_of_them()
    os.close(main)
