"""What came of a load on a server, in figures: a row for each kind of request."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from llmkit.probe.load import Outcome


@dataclass(frozen=True)
class Percentiles:
    """Of times, in seconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class LoadRow:
    """What came of the requests of one kind, or of all."""

    kind: str
    requests: int
    failed: int
    errors: dict[str, int]
    """How often each went wrong."""
    seconds: float
    """From the first request's start to the last one's end, of all kinds."""
    requests_per_second: float
    """Done well, like all that follows."""
    tokens_per_second: float
    """Written."""
    prompt_tokens_per_second: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token: Percentiles | None
    """Until the first text; None where answers came in one piece."""
    between_tokens: Percentiles | None
    whole: Percentiles | None
    """From a request's start to its end."""
    goodput_per_second: float | None
    """Requests a second whose first text came within the target; None: no target."""
    said: dict[str, str] = field(default_factory=dict)
    """Of each of `errors`, what the server said of the first, where it did."""


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """Of some values; None of none. Between two values: on the line from one to the other."""
    if not values:
        return None
    if len(values) == 1:
        return Percentiles(values[0], values[0], values[0])
    cuts = quantiles(values, n=100, method="inclusive")
    return Percentiles(cuts[49], cuts[89], cuts[98])


def load_rows(outcomes: Sequence[Outcome], target: float | None) -> list[LoadRow]:
    """A row for each kind, in order of appearance, and one for all where there are several.

    Args:
        outcomes: at least one.
        target: seconds within which a first text is good.
    """
    kinds = list(dict.fromkeys(one.kind for one in outcomes))
    seconds = max(one.sent + one.seconds for one in outcomes) - min(one.sent for one in outcomes)
    rows = [_row(kind, [one for one in outcomes if one.kind == kind], seconds, target) for kind in kinds]
    return rows if len(kinds) == 1 else [*rows, _row("all", outcomes, seconds, target)]


def _row(kind: str, outcomes: Sequence[Outcome], seconds: float, target: float | None) -> LoadRow:
    good = [one for one in outcomes if one.error is None]
    errors: dict[str, int] = {}
    said: dict[str, str] = {}
    for one in outcomes:
        if one.error is not None:
            errors[one.error] = errors.get(one.error, 0) + 1
            if one.said is not None:
                said.setdefault(one.error, one.said)
    first = [one.first_token_seconds for one in good if one.first_token_seconds is not None]
    prompt, written = sum(one.prompt_tokens for one in good), sum(one.completion_tokens for one in good)
    return LoadRow(
        kind=kind,
        requests=len(outcomes),
        failed=len(outcomes) - len(good),
        errors=errors,
        seconds=seconds,
        requests_per_second=len(good) / seconds,
        tokens_per_second=written / seconds,
        prompt_tokens_per_second=prompt / seconds,
        prompt_tokens=prompt,
        cached_tokens=sum(one.cached_tokens for one in good),
        completion_tokens=written,
        first_token=percentiles(first),
        between_tokens=percentiles([gap for one in good for gap in one.gaps]),
        whole=percentiles([one.seconds for one in good]),
        goodput_per_second=None if target is None else sum(one <= target for one in first) / seconds,
        said=said,
    )
