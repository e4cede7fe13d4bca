"""A JSON schema or a grammar as it is given on the command line: itself, or the file that it is in."""

from pathlib import Path

from llmkit.engine.gbnf import is_gbnf, is_lark
from llmkit.errors import MissingError
from llmkit.formats.text_file import read_text_file


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
    return _read("--json-schema", given, 'name a file, or give the schema: \'{"type": "object"}\'')


def read_grammar(given: str) -> str:
    """The text of a grammar, not checked.

    Args:
        given: rules of GBNF or Lark, or the name of a file.

    Raises:
        MissingError: no such file.
        DataError: the file is not UTF-8.
    """
    if is_gbnf(given) or is_lark(given):
        return given
    return _read("--grammar", given, 'name a file, or give the grammar: \'root ::= "yes" | "no"\'')


def _read(flag: str, given: str, hint: str) -> str:
    path = Path(given)
    if not path.exists():
        raise MissingError(f"{flag} {given}: no such file", hint=hint)
    return read_text_file(path)
