"""A whole file as text: a prompt, a passage, a template, a grammar, rules, keys."""

from pathlib import Path

from llmkit.errors import DataError
from llmkit.formats.streams import STDIO, open_input


def read_text_file(path: Path, *, hint: str = "iconv -f latin1 -t utf-8 FILE") -> str:
    """All of a file (plain, zstd or gzip) or of stdin, decoded and otherwise as it is.

    Args:
        path: the file, or `-`.
        hint: what to do where it is no text.

    Raises:
        MissingError: no such file, or stdin is closed.
        DataError: it is not UTF-8, or a folder.
    """
    with open_input(path) as stream:
        content = stream.read()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        name = "stdin" if path == STDIO else path
        found = f"found byte 0x{content[error.start]:02x} at offset {error.start}"
        raise DataError(f"{name}: not UTF-8 ({found})", hint=hint) from None
