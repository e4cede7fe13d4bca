"""The flags that say which functions a model may call, and how: of `generate` and `chat`, some of `serve`."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from llmkit.commands.console import Console
from llmkit.commands.tool_terminal import terminal_approval, told_at
from llmkit.commands.values import parse_seconds, parse_size
from llmkit.progress import SILENT, Progress
from llmkit.retrieve.tools.config import Approval, ToolLimits
from llmkit.retrieve.tools.loop import MAX_CALLS

if TYPE_CHECKING:
    from llmkit.workflows.tool.options import ToolOptions

ToolTimeout = Annotated[float, Option(parser=parse_seconds, metavar="TIME", help="Of one call.")]
ToolOutput = Annotated[int, Option(parser=parse_size, metavar="BYTES", help="Of one result at most.")]


@dataclass(frozen=True, kw_only=True)
class Calling:
    """What a model may call, and how."""

    tool: Annotated[
        list[str] | None,
        Option("--tool", metavar="'NAME: PROGRAM'", help="What the model may call; repeatable."),
    ] = None
    tool_schema: Annotated[
        list[str] | None,
        Option("--tool-schema", metavar="'NAME: FILE'", help="In place of PROGRAM --schema; repeatable."),
    ] = None
    tool_choice: Annotated[
        str, Option(metavar="auto|required|NAME", help="Whether an answer must begin with a call.")
    ] = "auto"
    approve: Annotated[Approval, Option(help="Whether each call is asked for at the terminal.")] = "ask"
    max_calls: Annotated[int, Option(min=1, metavar="N", help="Calls of one answer.")] = MAX_CALLS
    tool_timeout: ToolTimeout = ToolLimits.seconds
    tool_output: ToolOutput = ToolLimits.output_bytes
    replay: Annotated[
        Path | None,
        Option(metavar="FILE", help="Results come from these transcripts; nothing is called."),
    ] = None


def tool_options(console: Console, calling: Calling) -> "ToolOptions | None":
    """What the flags ask for; None where there is nothing to call.

    Raises:
        UsageError: they do not go together.
    """
    from llmkit.workflows.tool.options import ToolOptions

    options = ToolOptions(
        tools=tuple(calling.tool or ()),
        schemas=tuple(calling.tool_schema or ()),
        choice=calling.tool_choice,
        approve=calling.approve,
        max_calls=calling.max_calls,
        limits=ToolLimits(calling.tool_timeout, calling.tool_output),
        replay=calling.replay,
        told=told_at(console),
    )
    if not options.is_given:
        return None
    return replace(options, ask=terminal_approval()) if options.asks else options


def watched(
    console: Console, tools: "ToolOptions | None", log_every: float
) -> AbstractContextManager[Progress]:
    """Progress of writing texts; none where a person is asked, whose question a bar would overwrite."""
    if tools is not None and tools.asks:
        return nullcontext(SILENT)
    return console.progress("generating", log_every=log_every)
