"""Any executable as a tool: arguments as JSON on stdin, the result as JSON on stdout."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.retrieve.tools.config import ToolError, ToolLimits, ToolSpec, read_spec
from llmkit.retrieve.tools.run import run_program

_SCHEMA_LIMITS = ToolLimits(seconds=10.0, output_bytes=1 << 20)


@dataclass(frozen=True)
class ProgramTool:
    """A program that is started for each call."""

    spec: ToolSpec
    command: tuple[str, ...]
    limits: ToolLimits

    def call(self, arguments: dict[str, Any]) -> str:
        """See `Tool.call`."""
        given = json.dumps(arguments, ensure_ascii=False).encode()
        return result_text(run_program(self.command, given + b"\n", self.limits))


def result_text(content: bytes) -> str:
    """A result as a model reads it: a text as it is, anything else as compact JSON.

    Raises:
        ToolError: it is not JSON.
    """
    try:
        value = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        found = content[:60].decode(errors="replace")
        raise ToolError(f"the result is not JSON (found {found!r})") from None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def ask_schema(command: Sequence[str], name: str) -> ToolSpec:
    """What a program says of itself: `PROGRAM --schema`.

    Raises:
        LlmkitError: it cannot be run, or fails.
        DataError: it says something else.
    """
    asked = [*command, "--schema"]
    shown = " ".join(asked)
    try:
        content = run_program(asked, b"", _SCHEMA_LIMITS)
    except ToolError as error:
        raise LlmkitError(
            f"tool {name}: {shown}: {error}",
            hint=f"a tool prints its JSON schema when asked; or give one: --tool-schema '{name}: FILE.json'",
        ) from None
    return read_spec(content, f"tool {name}: {shown}", name)


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity, which JSON does not have
