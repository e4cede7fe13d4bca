"""Which of several documents is better: `source:wiki>web,date:max,length:max`.

Each term is a key and an order: values from the best to the worst, or `max` or `min` of a number or date. The
first term that tells two documents apart decides. `first` is the one that comes first in the input.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from llmkit.errors import DataError, UsageError

WORST = float("inf")
HINT = "as in --prefer 'source:wiki>web,date:max,length:max', or --prefer first"
_TERM = re.compile(r"(?P<key>[^:,>\s]+):(?P<order>[^:,]+)")
_DATES = ("date", "created", "added", "metadata.date", "metadata.created", "metadata.timestamp")


@dataclass(frozen=True)
class Term:
    """One key and what is better in it."""

    key: str
    order: Literal["max", "min", "first"] | tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The keys of a record where the value may stand; `date` goes by several names."""
        return _DATES if self.key == "date" else (self.key,)


FIRST = Term("", "first")


def parse_preference(text: str) -> tuple[Term, ...]:
    """The terms of a preference.

    Raises:
        UsageError: a term that is none.
    """
    terms: list[Term] = []
    for part in text.split(","):
        if part.strip() == "first":
            terms.append(FIRST)
            continue
        match = _TERM.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                f"--prefer {text}: {part.strip()!r} is no KEY:max, KEY:min or KEY:A>B", hint=HINT
            )
        key, order = match["key"], match["order"].strip()
        if order in ("max", "min"):
            terms.append(Term(key, "max" if order == "max" else "min"))
        else:
            values = tuple(value.strip() for value in order.split(">"))
            if "" in values or len(set(values)) < len(values):
                raise UsageError(f"--prefer {text}: {order!r} has a value twice, or an empty one", hint=HINT)
            terms.append(Term(key, values))
    if FIRST in terms[:-1]:
        raise UsageError(f"--prefer {text}: nothing can come after 'first'", hint=HINT)
    return tuple(terms)


def badness(term: Term, value: Any, where: str) -> float:
    """How far a value is from the best: less is better. A document without one is the worst.

    Args:
        term: not `FIRST`.
        value: as JSON has it; None where there is none.
        where: file and line, for messages.

    Raises:
        DataError: max or min of what is neither a number nor a date.
    """
    if isinstance(term.order, tuple):
        text = value if isinstance(value, str) else str(value)
        return float(term.order.index(text)) if text in term.order else float(len(term.order))
    if value is None:
        return WORST
    number = _number(value)
    if number is None:
        raise DataError(
            f"{where}: {term.key} is neither a number nor a date (found {str(value)[:40]!r})",
            hint=f"--prefer {term.key}:A>B puts words in an order",
        )
    return -number if term.order == "max" else number


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        date = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
