"""llmkit completion: the completion script of a shell."""

import sys
from typing import Annotated, Literal

from typer import Argument


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Argument(help="The shell to write for.")],
) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      llmkit completion bash > llmkit.bash
      llmkit completion fish > llmkit.fish
    """
    from llmkit.commands.documentation import completion_script

    sys.stdout.write(completion_script(shell))
