"""Functions that a model may call, opened: what `--tool` names becomes a Toolbox.

| source             | what it is                                                              |
|--------------------|-------------------------------------------------------------------------|
| calculator         | arithmetic                                                              |
| sql=FILE           | one SQLite database, to be read                                         |
| search=INDEX       | what `llmkit retrieve index` made, or the address of a collection       |
| FILE.py:FUNCTION   | a Python function, in a process of its own                              |
| mcp=COMMAND        | a server that speaks MCP over stdio: all of its functions              |
| anything else      | a command line: JSON on stdin, JSON on stdout, its schema by `--schema` |
"""

import json
import re
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmkit.errors import DataError, MissingError, UsageError, nearest
from llmkit.formats.jsonl import decode_field, read_records
from llmkit.retrieve.config import SearchFlags
from llmkit.retrieve.tools.calculator import Calculator
from llmkit.retrieve.tools.config import NAME, Tool, ToolLimits, ToolSpec, read_spec
from llmkit.retrieve.tools.loop import Message, Toolbox
from llmkit.retrieve.tools.loop import check_tools as check_names
from llmkit.retrieve.tools.mcp import McpServer
from llmkit.retrieve.tools.program import ProgramTool, ask_schema
from llmkit.retrieve.tools.replay import Recording, ReplayTool
from llmkit.retrieve.tools.search import SearchTool
from llmkit.retrieve.tools.sql import SqlTool
from llmkit.workflows.retrieve.finder import check_finder, open_finder
from llmkit.workflows.retrieve.search import SearchOptions
from llmkit.workflows.tool.options import ToolOptions

_NAMED = re.compile(r"([^\s:=/]+):\s+(.*\S)\s*", re.DOTALL)
_BUILT_IN = re.compile(r"(sql|search)=(.+)", re.DOTALL)
_SEARCH = SearchOptions(flags=SearchFlags(key=None, seconds=None, fewer="keep shorter passages there"))
_FUNCTION = re.compile(r"(.+\.py):([A-Za-z_]\w*)", re.DOTALL)


@contextmanager
def open_tools(options: ToolOptions | None) -> Iterator[Toolbox | None]:
    """Everything that can be called, for as long as this lasts; None where there is nothing.

    Raises:
        UsageError: a flag makes no sense, or two tools have one name.
        MissingError: a program, a file or an index is not there.
        DataError: a schema is none.
        LlmkitError: a program fails when it is asked for its schema.
    """
    if options is None or not options.is_given:
        yield None
        return
    approve = options.approver
    with ExitStack() as stack:
        if options.replay is not None:
            tools = _replayed(options.replay)
        else:
            schemas = _schemas(options)
            sources = [_read(given) for given in options.tools]
            tools = [tool for source in sources for tool in _open(source, options.limits, schemas, stack)]
            _require_read(schemas, [tool.spec.name for tool in tools])
        toolbox = Toolbox(tools, approve, max_calls=options.max_calls, told=options.told)
        if options.choice not in ("auto", "required", *toolbox.names):
            guess = nearest(options.choice, ["auto", "required", *toolbox.names])
            raise UsageError(
                f"--tool-choice {options.choice}: no tool is called so",
                hint=f"did you mean {guess}?" if guess else f"auto, required, {', '.join(toolbox.names)}",
            )
        yield toolbox


def check_tools(options: ToolOptions) -> None:
    """What `open_tools` finds out before it starts a program or asks a server.

    Raises:
        UsageError, MissingError, DataError: see there.
    """
    if not options.is_given:
        return
    _ = options.approver  # refuses where somebody is to be asked, and nobody is there
    if options.replay is not None:
        _replayed(options.replay)
        return
    schemas = _schemas(options)
    sources = [_read(given) for given in options.tools]
    for source in sources:
        if source.kind == "search":
            check_finder(source.path, _SEARCH)
        elif source.kind == "sql":
            with ExitStack() as stack:
                _open_sql(source.path, options.limits, source.name, stack)
    check_names([one.name for one in sources if one.kind != "mcp"], options.max_calls)
    if all(one.kind != "mcp" for one in sources):  # what an MCP server has, it says itself
        _require_read(schemas, [one.name for one in sources])


@dataclass(frozen=True)
class _Source:
    """What a `--tool` names, nothing of it opened."""

    kind: Literal["calculator", "search", "sql", "mcp", "program"]
    name: str
    """Of the function; of an MCP server's, what is put before their names."""
    path: Path = Path()
    """Of an index or a database."""
    command: tuple[str, ...] = ()


def _read(given: str) -> _Source:
    named = _NAMED.fullmatch(given)
    name, source = (named[1], named[2]) if named else (None, given.strip())
    if not source or (name is not None and not NAME.fullmatch(name)):
        raise UsageError(f"--tool {given!r}: no name and source", hint="--tool 'weather: ./weather.sh'")
    if source == "calculator":
        return _Source("calculator", name or "calculator")
    if (built_in := _BUILT_IN.fullmatch(source)) is not None:
        kind: Literal["search", "sql"] = "search" if built_in[1] == "search" else "sql"
        return _Source(kind, name or kind, Path(built_in[2]))
    if source.startswith("mcp="):
        command = _command(given, source.removeprefix("mcp="))
        return _Source("mcp", f"{name}_" if name else "", command=tuple(command))
    if (function := _FUNCTION.fullmatch(source)) is not None:
        if not Path(function[1]).is_file():
            raise MissingError(f"--tool {given}: no such file", hint="--tool FILE.py:FUNCTION")
        # -P: not the folder that this happens to be run in, before the library's own
        command = [sys.executable, "-P", "-m", "llmkit.retrieve.tools.function", function[1], function[2]]
        name = name or function[2]
    else:
        command = _command(given, source)
        name = name or Path(command[0]).stem
    if not NAME.fullmatch(name):
        raise UsageError(f"--tool {given!r}: {name!r} names no function", hint=f"--tool 'NAME: {source}'")
    return _Source("program", name, command=tuple(command))


def _open(
    source: _Source, limits: ToolLimits, schemas: dict[str, ToolSpec], stack: ExitStack
) -> Sequence[Tool]:
    if source.kind == "calculator":
        return [Calculator(source.name)]
    if source.kind == "search":
        find = stack.enter_context(open_finder(source.path, _SEARCH)).find
        return [SearchTool(find, limits, source.name)]
    if source.kind == "sql":
        return [_open_sql(source.path, limits, source.name, stack)]
    if source.kind == "mcp":
        return stack.enter_context(McpServer(list(source.command), limits, source.name)).tools
    spec = schemas.get(source.name) or ask_schema(list(source.command), source.name)
    return [ProgramTool(spec, source.command, limits)]


def _require_read(schemas: dict[str, ToolSpec], names: Sequence[str]) -> None:
    """Raises UsageError where a schema is of none of these tools."""
    unread = next((name for name in schemas if name not in names), None)
    if unread is not None:
        raise UsageError(f"--tool-schema {unread}: no tool is called so", hint=f"--tool '{unread}: PROGRAM'")


def _command(given: str, source: str) -> list[str]:
    try:
        command = shlex.split(source)
    except ValueError as error:
        raise UsageError(f"--tool {given!r}: {error}", hint="--tool 'weather: ./weather.sh -u c'") from None
    program = shutil.which(command[0]) if command else None
    if program is None:
        raise MissingError(
            f"--tool {given}: no program {' '.join(command[:1])}",
            hint="calculator, sql=FILE, search=INDEX, mcp=COMMAND, FILE.py:FUNCTION, or a program (chmod +x)",
        )
    return [program, *command[1:]]


def _open_sql(path: Path, limits: ToolLimits, name: str, stack: ExitStack) -> SqlTool:
    if not path.is_file():
        raise MissingError(f"--tool sql={path}: no such file", hint="--tool sql=DATABASE.sqlite")
    address = f"{path.resolve().as_uri()}?mode=ro"
    database = stack.enter_context(closing(sqlite3.connect(address, uri=True, check_same_thread=False)))
    try:
        return SqlTool(database, limits, name)
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path}: {error}", hint="--tool sql=FILE takes a SQLite database") from None


def _schemas(options: ToolOptions) -> dict[str, ToolSpec]:
    found = {}
    for given in options.schemas:
        named = _NAMED.fullmatch(given)
        if named is None or not NAME.fullmatch(named[1]):
            raise UsageError(
                f"--tool-schema {given!r}: no name and file", hint="--tool-schema 'weather: weather.json'"
            )
        path = Path(named[2])
        if not path.is_file():
            raise MissingError(f"--tool-schema {given}: no such file", hint="check the path")
        found[named[1]] = read_spec(path.read_bytes(), str(path), named[1])
    return found


def _replayed(path: Path) -> list[Tool]:
    """The functions of some transcripts, with their results."""
    recording, specs = Recording(str(path)), {}
    for line in read_records(path):
        recording.add(decode_field(line, "messages", list[Message]))
        for one in decode_field(line, "tools", list[Message]) if "tools" in line.record else []:
            spec = read_spec(json.dumps(one), line.where)
            specs[spec.name] = spec
    if not specs:
        raise DataError(
            f"{path}: no function is called in these transcripts",
            hint='llmkit generate --tool … --json writes {"messages": […], "tools": […]}',
        )
    return [ReplayTool(spec, recording) for spec in specs.values()]
