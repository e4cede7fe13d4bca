"""The part of an output that is judged, as a regular expression of the user's finds it."""

import re
from typing import Literal

from llmkit.errors import UsageError


def compile_extract(regex: str | None) -> re.Pattern[str] | None:
    """The pattern of --extract: `^` and `$` are at each line, `.` stays within one unless `(?s)` says else.

    Raises:
        UsageError: it is no regular expression.
    """
    try:
        return None if regex is None else re.compile(regex, re.M)
    except re.error as error:
        raise UsageError(
            f"--extract {regex!r} is no regular expression: {error}", hint=r"--extract 'Answer: (\w+)'"
        ) from None


def extract(
    pattern: re.Pattern[str] | None, text: str, which: Literal["first", "last"] = "last"
) -> str | None:
    """What is judged of a text: where a pattern finds something, its first group that took part, or all.

    Args:
        pattern: of `compile_extract`; None: the whole text is judged.
        text: that a model wrote.
        which: of the places that it finds.

    Returns:
        None where it finds nothing.
    """
    if pattern is None:
        return text
    places = pattern.finditer(text)
    found = next(places, None)
    if which == "last":
        *_, found = (found, *places)
    if found is None:
        return None
    return next((group for group in found.groups() if group is not None), found[0])
