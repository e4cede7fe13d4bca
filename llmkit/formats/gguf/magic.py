"""Whether a path is a GGUF file."""

from pathlib import Path

MAGIC = b"GGUF"


def is_gguf(path: Path) -> bool:
    """Whether a path is a GGUF file, told by its first bytes, or by its name where they are others."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC or path.suffix == ".gguf"
