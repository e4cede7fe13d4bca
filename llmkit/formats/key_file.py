"""A key of a server in a file: its one line."""

from pathlib import Path

from llmkit.errors import MissingError
from llmkit.formats.text_file import read_text_file


def read_key(path: Path, flag: str) -> str:
    """The one line of a file.

    Args:
        path: the file.
        flag: that named it.

    Raises:
        MissingError: there is no file, or nothing in it.
        DataError: it is not UTF-8.
    """
    if path.is_dir() or not path.exists():
        raise MissingError(f"{path}: no such file", hint=f"{flag} FILE: its one line is the key")
    key = read_text_file(path, hint=f"{flag} FILE: its one line is the key").strip()
    if not key:
        raise MissingError(f"{path}: nothing in it", hint=f"{flag} FILE: its one line is the key")
    return key
