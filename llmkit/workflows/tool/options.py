"""Which functions a model may call, and how: what `--tool` and the flags beside it say."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.retrieve.tools.config import Approval, ToolLimits
from llmkit.retrieve.tools.loop import MAX_CALLS, Approve, Called


@dataclass(frozen=True, kw_only=True)
class ToolOptions:
    """What is asked for, nothing of it opened."""

    tools: tuple[str, ...] = ()
    """Each `NAME: SOURCE`, or a source that has a name of its own; see `open_tools`."""
    schemas: tuple[str, ...] = ()
    """Each `NAME: FILE.json`: in place of what a program says of itself."""
    choice: str = "auto"
    """Whether a model may call (`auto`), or must begin with a call: `required`, or the name of a function."""
    approve: Approval = "ask"
    max_calls: int = MAX_CALLS
    """Of one answer."""
    limits: ToolLimits = field(default_factory=ToolLimits)
    """Of one call."""
    replay: Path | None = None
    """Transcripts whose results take the place of tools."""
    ask: Approve | None = None
    """Asks the person at the terminal; None: nobody is there."""
    told: Callable[[Called], None] = lambda called: None
    """Hears of each call."""

    def __post_init__(self) -> None:
        if self.tools and self.replay is not None:
            raise UsageError(
                "--tool and --replay exclude each other", hint="--replay has the functions of its transcripts"
            )
        unread = {
            "--tool-schema": bool(self.schemas),
            "--tool-choice": self.choice != "auto",
            "--approve": self.approve != "ask",
            "--max-calls": self.max_calls != MAX_CALLS,
            "--tool-timeout": self.limits.seconds != ToolLimits.seconds,
            "--tool-output": self.limits.output_bytes != ToolLimits.output_bytes,
        }
        flag = next((flag for flag, is_said in unread.items() if is_said), None)
        if flag is not None and not self.is_given:
            raise UsageError(f"{flag} does nothing without --tool", hint="--tool calculator")

    @property
    def asks(self) -> bool:
        """Whether a person is to be asked."""
        return self.approve == "ask" and self.replay is None

    @property
    def is_given(self) -> bool:
        """Whether there is anything to call."""
        return bool(self.tools) or self.replay is not None

    @property
    def approver(self) -> Approve:
        """Who decides about each call.

        Raises:
            UsageError: a person is to be asked, and there is none.
        """
        if self.replay is not None or self.approve == "auto":  # of a transcript nothing is run
            return lambda name, arguments: True
        if self.approve == "never":
            return lambda name, arguments: False
        if self.ask is None:
            raise UsageError(
                "--approve ask: there is no terminal to ask at",
                hint="--approve auto makes every call; --approve never makes none",
            )
        return self.ask
