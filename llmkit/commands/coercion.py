"""Words of the command line, and values of a settings file, as what a command's function is annotated with.

typer has pydantic do this, and importing pydantic is half of what a short command takes. Flags are of few
types here: bool, int, float, str, Path, one of some words, a parser's result, or a list of one of these.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer.core
from typer import BadParameter

from llmkit.commands.values import parse_count
from llmkit.errors import nearest
from llmkit.formats.not_utf8 import is_utf8

_typers_own = typer.core.build_runtime_param  # type: ignore[attr-defined]
_PATH_CHECKS = ("exists", "writable", "resolve_path")
_NUMBERS = {int: "a whole number", float: "a number"}
_NAMES_FILES = {"PATH", "FILE", "MODEL", "INDEX", "PROGRAM", "CMD", "URL", "ID"}
"""Words in the metavar of a text that may name a file (an id and unix:PATH do): its name may be any bytes."""
_WORD = re.compile("[A-Z]+")


def use_plain_coercion() -> None:
    """Have typer turn words into values by this module: for the whole process, before any command runs."""
    typer.core.build_runtime_param = plain_param  # type: ignore[attr-defined]


def plain_param(descriptor: Any) -> Any:
    """What typer calls to turn words into the value of one parameter; its own where the type is a rare one.

    Args:
        descriptor: typer's: `annotation`, without `| None`, and `parameter_info`, the Option or Argument.
    """
    kind, info = descriptor.annotation, descriptor.parameter_info
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
    if info.parser is not None:
        return _PlainParam(lambda value: _within(value, info.parser(value), info.min, info.max))
    if get_origin(kind) is Literal:
        return _PlainParam(lambda value: _word(value, get_args(kind)))
    if kind in _NUMBERS:
        return _PlainParam(lambda value: _number(value, kind, info.min, info.max))
    if kind is str and _NAMES_FILES.isdisjoint(_WORD.findall(info.metavar or "")):
        return _PlainParam(_text_of_letters)
    if kind in _SIMPLE and not any(getattr(info, check) for check in _PATH_CHECKS):
        return _PlainParam(_SIMPLE[kind])
    return _typers_own(descriptor)


class _PlainParam:
    """Has the one method that typer calls."""

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """One word, or the words of a parameter that takes several."""
        many = param.multiple or param.nargs != 1
        if value is None:
            return () if many else None
        try:
            if not many:
                return self._convert(value)
            if not isinstance(value, list | tuple):
                raise BadParameter(f"{value!r} is not a list")
            return [self._convert(one) for one in value]
        except BadParameter as error:  # a parser does not know which flag it works for
            raise BadParameter(error.message, ctx=ctx, param=param) from None


def _word(value: Any, words: tuple[Any, ...]) -> Any:
    if value in words:
        return value
    guess = nearest(str(value), map(str, words))
    raise BadParameter(
        f"{value!r} is not one of {', '.join(map(str, words))}"
        + (f"; did you mean {guess}?" if guess else "")
    )


def _number(value: Any, kind: type, least: float | None, most: float | None) -> Any:
    try:
        number = kind(value)
    except (ValueError, TypeError, OverflowError):
        number = _count(value) if kind is int else None
    if number is None or isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise BadParameter(f"{value!r} is not {_NUMBERS[kind]}")
    return _within(value, number, least, most)


def _within(value: Any, number: Any, least: float | None, most: float | None) -> Any:
    """What a value was read as, where no bound forbids it."""
    if least is not None and not number >= least:
        raise BadParameter(f"{value!r} is below {least:g}")
    if most is not None and not number <= most:
        raise BadParameter(f"{value!r} is above {most:g}")
    return number


def _count(value: Any) -> int | None:
    """`64k`, `1e3`: a count as people type it; None of another word."""
    try:
        return parse_count(value) if isinstance(value, str) else None
    except BadParameter:
        return None


def _text(value: Any) -> str:
    if isinstance(value, list | dict):  # its repr would pass for what somebody wrote
        raise BadParameter(f"{value!r} is not a text")
    return str(value)


def _text_of_letters(value: Any) -> str:
    text = _text(value)
    if not is_utf8(text):
        raise BadParameter(f"{text!r} is not UTF-8")
    return text


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadParameter(f"{value!r} is not true or false")
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise BadParameter(f"{value!r} is not a path")
    if value == "":  # of a variable that is not set; Path() would be the folder that one is in
        raise BadParameter("it is empty, and not a path")
    return Path(value)


_SIMPLE: dict[Any, Callable[[Any], Any]] = {bool: _truth, str: _text, Path: _path}
