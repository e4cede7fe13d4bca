"""What a check of `llmkit doctor` found."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from llmkit.errors import LlmkitError

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong (error), will surprise (warning) or is good to know (info)."""

    level: Level
    check: str
    """Which check, as group.name: machine.memory, weights.header, special.eos, …"""
    where: str
    what: str
    hint: str


def finding(level: Level, check: str, where: object, what: str, hint: str) -> Finding:
    """A Finding, in the order that a sentence has."""
    return Finding(level=level, check=check, where=str(where), what=what, hint=hint)


@contextmanager
def as_finding(findings: list[Finding], check: str, where: object) -> Iterator[None]:
    """Turn an error that a user can act on into an error finding, and go on."""
    try:
        yield
    except LlmkitError as error:
        place, separator, what = error.problem.partition(": ")
        if not separator or not place.startswith(str(where)):  # `where` or `where:line`, as a rule
            place, what = str(where), error.problem
        findings.append(finding("error", check, place, what, error.hint))


def worst(findings: list[Finding]) -> Level | None:
    """The gravest level among findings; None where there are none."""
    return next((level for level in LEVELS if any(one.level == level for one in findings)), None)
