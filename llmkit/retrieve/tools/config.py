"""What a tool is: a function with a name, a description and a schema, and what a call of it may take."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from llmkit.errors import DataError, UsageError

Approval = Literal["ask", "auto", "never"]
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""As OpenAI has them: templates and grammars rely on it."""
_SCHEMAS = ("parameters", "inputSchema", "input_schema", "arguments")
"""Under which name of its own each kind of description has the schema of arguments."""
_TYPES: dict[str, tuple[type, ...]] = {
    **{"string": (str,), "boolean": (bool,), "object": (dict,), "array": (list,), "null": (type(None),)},
    **{"integer": (int,), "number": (int, float)},
}


class ToolError(Exception):
    """A call that came to nothing. It is what the model is told, and no reason to stop."""


@dataclass(frozen=True)
class ToolSpec:
    """What a model is told of a function."""

    name: str
    description: str
    parameters: dict[str, Any]
    """The JSON schema of its arguments, an object."""

    @property
    def function(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        about = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": about}

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that the schema's outline does not have: a program checks the rest itself.

        Raises:
            ToolError: one is missing, unknown, of another type, or none of those that there are.
        """
        known = self.parameters.get("properties", {})
        missing = [name for name in self.parameters.get("required", ()) if name not in arguments]
        if missing:
            raise ToolError(f"{self.name} needs {', '.join(missing)}")
        for name, value in arguments.items():
            kind = known.get(name)
            if kind is None and self.parameters.get("additionalProperties", False) is False:
                raise ToolError(f"{self.name} has no argument {name!r} (it has {', '.join(known) or 'none'})")
            if isinstance(kind, dict):
                _check_value(f"{self.name}: {name}", value, kind)


def _check_value(where: str, value: Any, schema: Mapping[str, Any]) -> None:
    types = schema.get("type")
    names = [types] if isinstance(types, str) else types if isinstance(types, list) else []
    fits = any(_is(value, one) for one in names if isinstance(one, str))
    if names and not fits:
        raise ToolError(f"{where} must be {' or '.join(map(str, names))} (found {json.dumps(value)[:60]})")
    if "enum" in schema and value not in schema["enum"]:
        raise ToolError(f"{where} must be one of {json.dumps(schema['enum'])}")


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool) and name != "boolean":
        return False
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, (object,)))


@dataclass(frozen=True)
class ToolLimits:
    """What one call may take."""

    seconds: float = 10.0
    output_bytes: int = 16_384
    """Of its result: more is an error, not a part of it."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UsageError(
                f"--tool-timeout {self.seconds:g}: a call needs some time", hint="--tool-timeout 10"
            )
        if self.output_bytes < 1:
            raise UsageError(
                f"--tool-output {self.output_bytes}: a result has a byte", hint="--tool-output 16K"
            )


class Tool(Protocol):
    """A function that can be called."""

    @property
    def spec(self) -> ToolSpec:
        """What a model is told of it."""

    def call(self, arguments: dict[str, Any]) -> str:
        """The result, as the model reads it.

        Raises:
            ToolError: there is none.
        """


def one_text(name: str, about: str) -> dict[str, Any]:
    """The schema of arguments that are a single text."""
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": about}},
        "required": [name],
        "additionalProperties": False,
    }


def read_spec(content: bytes | str, source: str, name: str | None = None) -> ToolSpec:
    """A description of a function: ours, OpenAI's, Anthropic's, MCP's, or the bare schema of its arguments.

    Args:
        content: JSON.
        source: where it comes from, for messages.
        name: what the function is called, whatever the description says.

    Raises:
        DataError: it is no such description.
    """
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _wrong(source, f"not JSON: {error}") from None
    if isinstance(told, dict) and isinstance(told.get("function"), dict):
        told = told["function"]
    if not isinstance(told, dict):
        raise _wrong(source, f"not an object (found {type(told).__name__})")
    key = next((one for one in _SCHEMAS if one in told), None)
    is_bare = key is None and ("properties" in told or told.get("type") == "object")
    parameters = told if is_bare else told.get(key or "", {})
    name = name or told.get("name") or (told.get("title") if is_bare else None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _wrong(source, f"no name that a function can have (found {name!r})")
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        raise _wrong(source, "the schema of its arguments is not of an object")
    if not isinstance(parameters.get("properties", {}), dict):
        raise _wrong(source, '"properties" is not an object')
    required = parameters.get("required", [])
    if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
        raise _wrong(source, '"required" is not a list of names')
    description = told.get("description") or ""
    if not isinstance(description, str):
        raise _wrong(source, "its description is not text")
    return ToolSpec(name, description, {"type": "object", "properties": {}, **parameters})


def _wrong(source: str, why: str) -> DataError:
    return DataError(
        f"{source}: {why}",
        hint='{"name": "add", "description": "…", "parameters": {"type": "object", "properties": {…}}}',
    )
