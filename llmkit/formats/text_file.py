"""A whole file as text: a prompt, a passage, a template, a grammar, rules, keys."""

from pathlib import Path

from llmkit.errors import DataError
from llmkit.formats.not_utf8 import not_utf8, utf8_hint
from llmkit.formats.streams import input_name, open_input


def read_text_file(path: Path, *, hint: str | None = None) -> str:
    """All of a file (plain, zstd or gzip) or of stdin, decoded and otherwise as it is.

    Args:
        path: the file, or `-`.
        hint: what to do where it is no text; None: the command that makes UTF-8 of it.

    Raises:
        MissingError: no such file, or stdin is closed.
        DataError: it is not UTF-8, or a folder.
    """
    with open_input(path) as stream:
        content = stream.read()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{input_name(path)}: {not_utf8(error)}", hint=hint or utf8_hint(path, content)
        ) from None
