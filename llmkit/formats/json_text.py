"""JSON of anything that has names of files in it, which need not be UTF-8; and JSON for people."""

from typing import Any, TypeGuard

import msgspec


def json_text(value: Any) -> bytes:
    """Anything that msgspec encodes, as the content of a file: one key a line, a line feed at the end."""
    return msgspec.json.format(encode_json(value), indent=2) + b"\n"


def encode_json(value: Any) -> bytes:
    """Anything that msgspec encodes; names that are not UTF-8 as `printable` has them."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_all_printable(value))


def printable(name: str) -> str:
    """A file name, or a page with some, for what has no place for bytes that are not UTF-8, such as JSON."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number: Python counts a true as 1."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all_printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_all_printable(key): _all_printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_all_printable(item) for item in value]
    if value is None or isinstance(value, int | float | msgspec.Raw):
        return value
    return _all_printable(msgspec.to_builtins(value))
