"""llmkit completion: the completion script of a shell."""

import sys
from typing import Annotated, Literal

import typer
from typer import Argument


def completion(
    ctx: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], Argument(help="The shell to write for.")],
) -> None:
    """Print the completion script of a shell.

    The script is complete in itself: pressing TAB starts no Python.

    \b
    Examples:
      llmkit completion bash > llmkit.bash
      llmkit completion fish > llmkit.fish
    """
    from llmkit.commands.completion.text import completion_script
    from llmkit.commands.documentation import read_pages

    sys.stdout.write(completion_script(shell, read_pages(ctx.find_root().command)))
