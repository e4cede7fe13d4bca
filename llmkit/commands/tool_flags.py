"""The flags that say which functions a model may call, and how: of `generate` and `chat`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from llmkit.commands.console import Console
from llmkit.commands.tool_terminal import terminal_approval, told_at
from llmkit.commands.values import parse_count, parse_seconds
from llmkit.progress import SILENT, Progress
from llmkit.retrieve.tool_config import Approval, ToolLimits
from llmkit.retrieve.tool_loop import MAX_CALLS

if TYPE_CHECKING:
    from llmkit.workflows.tool_options import ToolOptions

Tools = Annotated[
    list[str] | None,
    Option("--tool", metavar="'NAME: PROGRAM'", help="What the model may call; repeatable."),
]
ToolSchemas = Annotated[
    list[str] | None,
    Option("--tool-schema", metavar="'NAME: FILE'", help="In place of PROGRAM --schema; repeatable."),
]
ToolChoice = Annotated[
    str, Option(metavar="auto|required|NAME", help="Whether an answer must begin with a call.")
]
Approve = Annotated[Approval, Option(help="Whether each call is asked for at the terminal.")]
MaxCalls = Annotated[int, Option(min=1, metavar="N", help="Calls of one answer.")]
ToolTimeout = Annotated[float, Option(parser=parse_seconds, metavar="TIME", help="Of one call.")]
ToolOutput = Annotated[int, Option(parser=parse_count, metavar="BYTES", help="Of one result at most.")]
Replay = Annotated[
    Path | None, Option(metavar="FILE", help="Results come from these transcripts; nothing is called.")
]
CALLS, TIMEOUT, OUTPUT = MAX_CALLS, ToolLimits.seconds, ToolLimits.output_bytes


def tool_options(
    console: Console,
    *,
    tools: Sequence[str] | None,
    schemas: Sequence[str] | None,
    choice: str,
    approve: Approval,
    max_calls: int,
    timeout: float,
    output: int,
    replay: Path | None,
) -> "ToolOptions | None":
    """What the flags ask for; None where there is nothing to call.

    Raises:
        UsageError: they do not go together.
    """
    from llmkit.workflows.tool_options import ToolOptions

    options = ToolOptions(
        tools=tuple(tools or ()),
        schemas=tuple(schemas or ()),
        choice=choice,
        approve=approve,
        max_calls=max_calls,
        limits=ToolLimits(timeout, output),
        replay=replay,
        told=told_at(console),
    )
    if not options.is_given:
        options.refuse_unread(
            {
                "--approve": approve != "ask",
                "--max-calls": max_calls != CALLS,
                "--tool-timeout": timeout != TIMEOUT,
                "--tool-output": output != OUTPUT,
            }
        )
        return None
    if options.asks:
        return options.asking(terminal_approval())
    return options


def watched(
    console: Console, tools: "ToolOptions | None", log_every: float
) -> AbstractContextManager[Progress]:
    """Progress of writing texts; none where a person is asked, whose question a bar would overwrite."""
    if tools is not None and tools.asks:
        return nullcontext(SILENT)
    return console.progress("generating", log_every=log_every)
