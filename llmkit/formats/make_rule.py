"""A rule for make that says what a file was made of, as compilers write it for -MF."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from llmkit.formats.atomic import write_atomic


def write_make_rule(path: Path, target: Path, inputs: Iterable[Path]) -> None:
    """Write `target: inputs`, and for each input an empty rule, so that make goes on when one is gone.

    Args:
        path: of the rule, which a Makefile includes.
        target: what the Makefile calls it.
        inputs: files; one that is named twice counts once.
    """
    names = list(dict.fromkeys(_escaped(one) for one in inputs))
    rule = " \\\n  ".join([f"{_escaped(target)}:", *names])
    lines = [rule, *(f"\n{name}:" for name in names), ""]
    write_atomic(path, os.fsencode("\n".join(lines)))  # names as they are, UTF-8 or not


def _escaped(path: Path) -> str:
    """A name as GNU make reads it back."""
    return re.sub(r"([ #:])", r"\\\1", str(path).replace("$", "$$"))
