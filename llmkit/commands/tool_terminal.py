"""Calls at the terminal: a person says which are made, and sees what came of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from llmkit.commands.console import Console

if TYPE_CHECKING:
    from llmkit.retrieve.tools.loop import Approve, Called

_SHOWN = 2_000
"""Characters of arguments that are shown: who approves must see all of them, or as good as."""
_TOLD = 200


def terminal_approval() -> "Approve | None":
    """What asks at the terminal that this process belongs to; None where there is none.

    It is the terminal itself, whatever stdin and stdout are: prompts may come from a pipe.
    """
    try:
        terminal = Path("/dev/tty").open("r+b", buffering=0)  # noqa: SIM115 (as long as the process lasts)
    except OSError:
        return None
    return approval_at(terminal)


def approval_at(terminal: IO[bytes]) -> "Approve":
    """What asks at a terminal. A function that is always allowed is not asked for again; no answer is no."""
    always: set[str] = set()

    def approve(name: str, arguments: dict[str, Any]) -> bool:
        if name in always:
            return True
        call = _cut(f"{name}({json.dumps(arguments)})", _SHOWN)  # ASCII: nothing that a terminal would obey
        while True:
            terminal.write(f"call {call}? [y]es, [n]o, [a]lways {name}: ".encode())
            answer = terminal.readline().decode(errors="replace").strip().lower()
            if answer in ("a", "always"):
                always.add(name)
            if answer in ("y", "yes", "a", "always"):
                return True
            if answer in ("n", "no", ""):
                return False

    return approve


def told_at(console: Console) -> "Callable[[Called], None]":
    """Says of each call what came of it, on stderr."""

    def told(called: "Called") -> None:
        result = called.result if called.result.isprintable() else json.dumps(called.result)
        arguments = called.arguments if called.arguments.isprintable() else json.dumps(called.arguments)
        name = called.name if called.name.isprintable() else json.dumps(called.name)
        console.note(f"{_cut(f'{name}({arguments})', _TOLD)} -> {_cut(result, _TOLD)}")

    return told


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"
