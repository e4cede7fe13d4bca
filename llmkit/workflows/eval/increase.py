"""How much figures of two reports grew: for gates that allow a model of fewer bits to be a little worse."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec

from llmkit.errors import DataError, UsageError, nearest
from llmkit.formats.json_text import is_number

Report = tuple[str, Mapping[str, Any]]
"""Its file's name, and what it says."""
SHORT = {"ppl": "perplexity", "bpb": "bits_per_byte", "bits_per_byte": "bpb", "perplexity": "ppl"}
"""Reports of `eval ppl` have the long names, those of `eval kl` the short ones."""


class Increase(msgspec.Struct, frozen=True, kw_only=True):
    """A figure in both reports."""

    metric: str
    before: float
    after: float
    increase: float
    """Share of `before`."""
    most: float
    """That is allowed."""


def find_increases(before: Report, after: Report, limits: Sequence[tuple[str, float]]) -> list[Increase]:
    """Each figure in both reports.

    Args:
        before, after: reports as --json wrote them.
        limits: keys, of what is inside with dots, and the share by which the figure may grow.

    Raises:
        UsageError: a report has no such key, or no number there; a limit that is none.
        DataError: the first report's figure is not above 0, so that nothing is a share of it.
    """
    found = []
    for key, most in limits:
        if not isfinite(most):
            raise UsageError(
                f"--max-increase {key}={most}: nothing is held to that", hint=f"--max-increase {key}=2%"
            )
        then, now = _figure(before, key), _figure(after, key)
        if not then > 0:
            raise DataError(
                f"{before[0]}: {key} is {then:g}, and nothing is a share of it", hint="another figure"
            )
        found.append(Increase(metric=key, before=then, after=now, increase=(now - then) / then, most=most))
    return found


def _figure(told: Report, key: str) -> float:
    file, report = told
    for name in (key, SHORT.get(key, key)):
        value: Any = report
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if is_number(value):
            return float(value)
    numbers = [name for name, value in report.items() if is_number(value)]
    guess = nearest(key, numbers)
    raise UsageError(
        f"{file}: no figure {key}",
        hint=f"did you mean {guess}?" if guess else f"it has: {', '.join(numbers)}",
    )
