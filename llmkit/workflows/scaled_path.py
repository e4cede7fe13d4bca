"""`PATH` or `PATH:SCALE`, as --adapter has it in every command."""

from math import isfinite
from pathlib import Path
from typing import NamedTuple

from llmkit.errors import UsageError


class ScaledPath(NamedTuple):
    """A PEFT folder, and what its change is multiplied with."""

    path: Path
    scale: float = 1.0


def parse_scaled_path(text: str) -> ScaledPath:
    """What was typed; a path that ends like a scale and exists is a path.

    Raises:
        UsageError: the scale is no finite number.
    """
    path, colon, scale = text.rpartition(":")
    if not colon or Path(text).exists():
        return ScaledPath(Path(text))
    try:
        factor = float(scale)
    except ValueError:
        raise UsageError(
            f"--adapter {text}: {scale!r} is no number", hint=f"--adapter {path or 'PATH'}:0.5"
        ) from None
    if not path or not isfinite(factor):
        raise UsageError(f"--adapter {text}: not PATH:SCALE with a finite scale", hint="--adapter PATH:0.5")
    return ScaledPath(Path(path), factor)
