"""`tools` and `tool_choice`. Source: OpenAI's API reference, "Create chat completion"."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from llmkit.server.ask import ToolChoice
from llmkit.server.errors import refused

MOST_TOOLS = 128
MOST_BYTES = 65_536
"""Of all tools together."""
NAME_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"
"""Of a function's name."""


def read_tools(tools: list[dict[str, Any]] | None) -> tuple[dict[str, Any], ...]:
    """Functions that the model may call, as templates take them.

    Raises:
        ApiError: 400, naming the tool and what is wrong with it.
    """
    if not tools:
        return ()
    if len(tools) > MOST_TOOLS:
        raise refused("tools", f"at most {MOST_TOOLS} (found {len(tools)})")
    if (size := len(msgspec.json.encode(tools))) > MOST_BYTES:
        raise refused("tools", f"at most {MOST_BYTES:,} bytes (found {size:,})")
    return tuple(_tool(one, f"tools[{number}]") for number, one in enumerate(tools))


def read_tool_choice(choice: str | dict[str, Any] | None, tools: tuple[dict[str, Any], ...]) -> ToolChoice:
    """Whether a function is called.

    Raises:
        ApiError: 400: a choice that is not known, or of a function that is not there.
    """
    match choice:
        case None:
            return ToolChoice("auto" if tools else "none")
        case "none":
            return ToolChoice("none")
        case "auto":
            return ToolChoice("auto" if tools else "none")
        case "required":
            wanted = None
        case {"type": "function", "function": {"name": str() as wanted}}:
            pass
        case _:
            raise refused("tool_choice", '"none", "auto", "required", or a function by its name')
    if not tools:
        raise refused("tool_choice", "there are no tools to choose from")
    names = [tool["function"]["name"] for tool in tools]
    if wanted is not None and wanted not in names:
        raise refused("tool_choice", f"no tool is called {wanted!r} (there are {', '.join(names)})")
    return ToolChoice("required", wanted)


@dataclass(frozen=True)
class Offer:
    """What a model may call in one request."""

    tools: tuple[dict[str, Any], ...]
    choice: ToolChoice
    by_server: bool
    """Whether the server calls them itself; else the client is told of the calls."""


def read_offer(
    tools: list[dict[str, Any]] | None,
    choice: str | dict[str, Any] | None,
    functions: tuple[dict[str, Any], ...],
) -> Offer:
    """The client's tools where it says anything of tools, be it that there are none; else the server's.

    Args:
        tools, choice: as the body has them.
        functions: of the server.

    Raises:
        ApiError: 400: see `read_tools` and `read_tool_choice`.
    """
    by_server = bool(functions) and tools is None and choice != "none"
    offered = functions if by_server else read_tools(tools)
    return Offer(offered, read_tool_choice(choice, offered), by_server)


def _tool(tool: dict[str, Any], where: str) -> dict[str, Any]:
    if tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
        raise refused(where, 'of the form {"type": "function", "function": {"name", "parameters"}}')
    function = tool["function"]
    name, parameters = function.get("name"), function.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise refused(f"{where}.function.name", "letters, digits, _ . and -, at most 64")
    if not isinstance(parameters, dict):
        raise refused(f"{where}.function.parameters", "a JSON schema")
    if not isinstance(function.get("description", ""), str):
        raise refused(f"{where}.function.description", "a text")
    return {"type": "function", "function": {**function, "parameters": parameters}}
