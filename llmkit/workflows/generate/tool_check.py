"""What `--tool` cannot be combined with in `llmkit generate`: options, and what rows ask for."""

from typing import TYPE_CHECKING, Any

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError, UsageError
from llmkit.formats.jsonl import Line, decode_field
from llmkit.workflows.generate.files import GenerateFiles

if TYPE_CHECKING:
    from llmkit.workflows.tool.talk import ToolTalk


def check_tool_options(files: GenerateFiles, config: GenerateConfig) -> None:
    """Refuse what an answer with calls in it cannot do.

    Raises:
        UsageError: it is asked for.
    """
    excluded = {
        "--logprobs": "logprobs" in config.sampling,
        "--mark-below": config.mark_below is not None,
        "--echo": config.echo,
        "--prefill": config.prefill is not None,
        "--resume": files.resume,
        "--unordered": config.unordered,
        "--batch": config.batch is not None,
    }
    for flag, is_there in excluded.items():
        if is_there:
            raise UsageError(
                f"--tool and {flag} exclude each other",
                hint="answers with calls are written one after the other, each whole",
            )


def check_tool_row(line: Line, talk: "ToolTalk | None") -> None:
    """Refuse a row that cannot be answered with calls.

    Raises:
        DataError: it is one of tokens, or has functions, a prefill or log probabilities of its own.
    """
    if talk is None:
        return
    said = {name for name, value in line.record.items() if bytes(value) != b"null"}
    for name in ("tokens", "prefill", "logprobs"):
        if name in said:
            raise DataError(f'"{name}" and --tool exclude each other', hint="leave one of them out")
    if "tools" in said and decode_field(line, "tools", list[dict[str, Any]]) != talk.toolbox.functions:
        raise DataError('"tools": other functions than those of --tool', hint="leave the row's own out")
