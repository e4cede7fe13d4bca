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
    names = [tool["function"]["name"] for tool in tools]
    allowed = _allowed(choice)
    if isinstance(choice, dict) and allowed is not None:
        if not tools:
            raise refused("tool_choice", _NO_TOOLS)
        for name in allowed:
            _check_name(name, names)
        choice = choice["allowed_tools"]["mode"]
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
            raise refused(
                "tool_choice", '"none", "auto", "required", a function by its name, or allowed_tools'
            )
    if not tools:
        raise refused("tool_choice", _NO_TOOLS)
    if wanted is not None:
        _check_name(wanted, names)
    return ToolChoice("required", wanted)


_NO_TOOLS = "there are no tools to choose from"


def _check_name(name: str, names: list[str]) -> None:
    if name not in names:
        raise refused("tool_choice", f"no tool is called {name!r} (there are {', '.join(names)})")


def _allowed(choice: str | dict[str, Any] | None) -> list[str] | None:
    """The functions that alone may be called; None: all.

    Raises:
        ApiError: 400: what is allowed is said in no known form.
    """
    match choice:
        case {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto" | "required", "tools": [_, *_] as tools},
        }:
            pass
        case {"type": "allowed_tools"}:
            raise refused("tool_choice", 'allowed_tools has a mode, "auto" or "required", and tools')
        case _:
            return None
    names = []
    for one in tools:
        match one:
            case {"type": "function", "function": {"name": str() as name}}:
                names.append(name)
            case _:
                raise refused("tool_choice", "allowed_tools has functions by their names alone")
    return names


def as_chats_choose(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """The choice of /v1/responses as chats write it."""
    match choice:
        case {"type": "allowed_tools", "mode": mode, "tools": list() as tools}:
            allowed = {"mode": mode, "tools": [as_chats_choose(one) for one in tools]}
            return {"type": "allowed_tools", "allowed_tools": allowed}
        case {"name": name, **more}:
            return {"type": more.get("type"), "function": {"name": name}}
    return choice


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

    Of `allowed_tools` the model is told of those alone: of others it knows nothing that it could call.

    Args:
        tools, choice: as the body has them.
        functions: of the server.

    Raises:
        ApiError: 400: see `read_tools` and `read_tool_choice`.
    """
    by_server = bool(functions) and tools is None and choice != "none"
    offered = functions if by_server else read_tools(tools)
    read, allowed = read_tool_choice(choice, offered), _allowed(choice)
    if allowed is not None:
        offered = tuple(tool for tool in offered if tool["function"]["name"] in allowed)
    return Offer(offered, read, by_server)


def _tool(tool: dict[str, Any], where: str) -> dict[str, Any]:
    if tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
        raise refused(where, 'of the form {"type": "function", "function": {"name", "parameters"}}')
    function = {name: value for name, value in tool["function"].items() if value is not None}
    name, parameters = function.get("name"), function.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise refused(f"{where}.function.name", "letters, digits, _ . and -, at most 64")
    if not isinstance(parameters, dict):
        raise refused(f"{where}.function.parameters", "a JSON schema")
    if not isinstance(function.get("description", ""), str):
        raise refused(f"{where}.function.description", "a text")
    return {"type": "function", "function": {**function, "parameters": parameters}}
