"""A JSON schema as it is given on the command line: itself, or the file that it is in."""

from pathlib import Path

from llmkit.errors import DataError, MissingError
from llmkit.formats.streams import open_input


def read_schema(given: str) -> str:
    """The schema as JSON text, not checked.

    Args:
        given: an object as JSON, or the name of a file.

    Raises:
        MissingError: no such file.
        DataError: the file is not UTF-8.
    """
    if given.lstrip().startswith("{") or given.strip() in ("true", "false"):
        return given
    path = Path(given)
    if not path.exists():
        raise MissingError(
            f"--json-schema {given}: no such file",
            hint='name a file, or give the schema: \'{"type": "object"}\'',
        )
    with open_input(path) as stream:
        content = stream.read()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}", hint="a schema is JSON, in UTF-8") from None
