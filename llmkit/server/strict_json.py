"""A request's body as an object: depth and numbers bounded, what is wrong named by its parameter."""

import codecs
import contextlib
import math
import re
from typing import Any, TypeVar

import msgspec

from llmkit.errors import nearest
from llmkit.server.errors import ApiError

T = TypeVar("T")
MOST_DEPTH = 64
"""Of brackets within brackets: no request needs more, and stacks are finite."""
_PLACE = re.compile(r" - at `(?P<path>\$[^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`$", re.DOTALL)
_OTHER = {
    b"\x1f\x8b": "packed by gzip",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""What a body is that begins so."""
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
"""What a backslash begins: both halves of a character beyond 16 bits, one of them alone, or anything else."""
_NAME = re.compile(r"^\$\.(?P<name>[^.\[]+)")


def decode(content: bytes, kind: type[T]) -> T:
    """A body as a struct of a wire module.

    NaN, infinities, numbers that no float holds, half characters and keys that the struct does not have are
    refused: JSON has none of the first three, and a parameter that is passed over would be a silent lie.
    A whole number may be written as 1.0. UTF-8's mark may stand before it all, as Windows puts it (RFC 8259,
    8.1).

    Raises:
        ApiError: 400, with the parameter that it is about in `param`.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    if too_deep(content):
        raise ApiError(400, f"the body is nested more than {MOST_DEPTH} deep", code="invalid_json")
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        if "got `float`" in str(error):
            with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
                return msgspec.convert(_WHOLE.decode(content), kind)
        raise _invalid(str(error), kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {_why(content, error)}", code="invalid_json") from None


def whole(told: str) -> int | float:
    """A number with a point or an exponent: whole where it is.

    Raises:
        ValueError: no float holds it.
    """
    value = float(told)
    if not math.isfinite(value):
        raise ValueError(told)
    return int(value) if value.is_integer() else value


def as_whole(value: Any) -> int | None:
    """A value of a body as the whole number that `decode` takes it for, 1.0 for 1; None where it is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_WHOLE = msgspec.json.Decoder(float_hook=whole)


def too_deep(content: bytes) -> bool:
    """Whether brackets are nested deeper than anything that is asked for; those in strings do not count."""
    depth = 0
    for piece in _BRACKETS.finditer(content):
        match piece[0][:1]:
            case b"[" | b"{":
                depth += 1
                if depth > MOST_DEPTH:
                    return True
            case b"]" | b"}":
                depth -= 1
    return False


_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A string, which may lack its end, or a bracket. Whatever begins with a quotation mark is taken for one: a
match that failed at the body's end would be tried again from each mark within."""


def _invalid(message: str, kind: type[Any]) -> ApiError:
    place = _PLACE.search(message)
    path = place["path"] if place else "$"
    what = _PLACE.sub("", message)
    top = _NAME.match(path)
    if unknown := _UNKNOWN.match(what):
        param = unknown["name"] if top is None else f"{path[2:]}.{unknown['name']}"
        known = [] if top is not None else [field.encode_name for field in msgspec.structs.fields(kind)]
        meant = nearest(unknown["name"], known)
        more = f"; did you mean {meant}?" if meant else ""
        return ApiError(400, f"{param}: no such parameter here{more}", code="unknown_parameter", param=param)
    if missing := _MISSING.match(what):
        param = missing["name"] if top is None else f"{path[2:]}.{missing['name']}"
        return ApiError(400, f"{param}: missing", code="missing_parameter", param=param)
    param = path[2:] or None
    return ApiError(400, f"{param or 'the body'}: {what}", code="invalid_type", param=param)


def _why(content: bytes, error: BaseException) -> str:
    """Why a body is none: msgspec takes half a character for a body that ends too early."""
    for magic, what in _OTHER.items():
        if content.startswith(magic):
            return f"it is {what}, and only plain UTF-8 is read"
    halves = (one["half"] for one in _ESCAPE.finditer(content))
    if (half := next(filter(None, halves), None)) is not None:
        return f"{half.decode(errors='replace')} is half a character, as of an emoji that was cut in two"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else "it ends too early"
