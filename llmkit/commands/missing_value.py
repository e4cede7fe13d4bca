"""Flags that would take the next flag for their value: `-o $OUT --force`, and OUT is empty."""

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

from llmkit.commands.optional_value import names_with_values
from llmkit.errors import UsageError


def refuse_swallowed(
    params: Iterable[Any], args: Sequence[str], *, command: str, help_names: Collection[str]
) -> None:
    """Find a flag whose value would be a flag of the same command.

    Args:
        params: the command's options and arguments.
        args: the words of its command line.
        command: as it is typed.
        help_names: flags that are among no `params`.

    Raises:
        UsageError: there is one. `--out=--force` gives such a value all the same.
    """
    options = [param for param in params if param.param_type_name == "option"]
    valued = names_with_values(options)
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)} | {*help_names}
    for flag, word in pairwise(args):
        if flag == "--":
            return
        if flag in valued and word in names:
            joint = "=" if flag.startswith("--") else ""
            raise UsageError(
                f"{command.removeprefix('llmkit ')}: option '{flag}' requires an argument, "
                f"and '{word}' is an option",
                hint=f"if that is its value: {flag}{joint}{word}",
            )
