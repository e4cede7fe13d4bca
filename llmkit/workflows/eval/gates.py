"""What an evaluation must not fall short of: limits on its figure, and the report of an earlier run."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from llmkit.errors import DataError, GateFailed, MissingError, UsageError
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.streams import input_name, open_input
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.noise import Share, noise_between
from llmkit.workflows.eval.work import Work, check_same

_ONE_SAMPLE = "pass@1"
_SHARES = {"accuracy", "acc", "acc_norm", "acc_bytes", _ONE_SAMPLE}
"""Figures of records that are right or wrong."""
_ALPHA = 0.05


class Evaluated(Protocol):
    """A report of an evaluation."""

    @property
    def headline(self) -> Headline:
        """The figure that it is judged by."""

    @property
    def work(self) -> Work:
        """What another must have in common with it."""


@dataclass(frozen=True)
class Earlier:
    """A report that --json wrote."""

    name: str
    """Of its file, as messages call it."""
    headline: Headline
    report: Mapping[str, Any]
    """All of it."""

    @property
    def share(self) -> Share | None:
        """How many were right of how many, where that is what its figure says."""
        return share_of(self.headline, self.report.get)


class _Read(msgspec.Struct, frozen=True):
    """What every report has."""

    schema: str
    headline: Headline


def read_earlier(path: Path, schema: str | None = None) -> Earlier:
    """A report that --json wrote.

    Args:
        path: of the report; `-` is stdin.
        schema: that it must have; None: that of any evaluation.

    Raises:
        MissingError: no such file.
        DataError: it is something else.
    """
    try:
        with open_input(path) as stream:
            content = stream.read()
    except MissingError as error:
        raise MissingError(error.problem, hint=f"llmkit eval … --json > {path}") from None
    return parse_earlier(content, input_name(path), schema)


def parse_earlier(content: bytes, name: str, schema: str | None = None) -> Earlier:
    """The report in the bytes of a file called `name`.

    Raises:
        DataError: they are something else.
    """
    try:
        report = msgspec.json.decode(content, type=dict[str, Any])
        earlier = msgspec.convert(report, _Read)
    except MALFORMED as error:
        raise DataError(
            f"{name}: not a report of llmkit eval ({error})", hint="--json writes one to stdout"
        ) from None
    if schema is not None and earlier.schema != schema:
        raise DataError(
            f"{name}: a report of another kind (found {earlier.schema}, this is {schema})",
            hint="compare with one of the same command",
        )
    return Earlier(name, earlier.headline, report)


def check_limit(figure: Headline, limit: float | None, flag: str) -> None:
    """Hold a figure against what a flag allows.

    Raises:
        GateFailed: it is beyond, or no number.
    """
    if limit is None:
        return
    above = figure.better == "lower"
    if not (figure.value <= limit if above else figure.value >= limit):
        beyond = (
            "not known to be within" if math.isnan(figure.value) else f"{'more' if above else 'less'} than"
        )
        noise = f" ± {figure.error:.2g}" if figure.error else ""
        raise GateFailed(
            f"{figure.name} {figure.value:.6g}{noise}, {beyond} {flag} {limit:g}",
            hint=f"the report above is complete; {flag} is where it stops being good enough",
        )


def check_alike(work: Work, before: Earlier | None, figure: str | None = None) -> None:
    """Refuse an earlier report that a run cannot be held against, as soon as that is known.

    Args:
        work: of the run, as far as it is known.
        before: the report; None: there is none.
        figure: the name of what the run is judged by; None: that of every report of its kind.

    Raises:
        DataError: they are two figures, or of other inputs or settings.
    """
    if before is None:
        return
    if figure not in (None, before.headline.name):
        raise DataError(
            f"{before.name}: has {before.headline.name}, and this run {figure}",
            hint="give both the same options",
        )
    check_same(work, before.report, before.name, "this run")


def check_baseline(now: Evaluated, before: Earlier | None) -> str | None:
    """Hold a report against an earlier one.

    Returns:
        What a person should know: that it is worse, and nobody can say whether beyond noise.

    Raises:
        DataError: see `check_alike`.
        GateFailed: it is worse, beyond noise.
    """
    if before is None:
        return None
    figure, earlier = now.headline, before.headline
    check_alike(now.work, before, figure.name)
    shares = before.share, share_of(figure, lambda key: getattr(now, key, None))
    noise, loss = noise_between(earlier, figure, shares), figure.loss(earlier)
    problem = f"{figure.name} {figure.value:.6g}, {earlier.value:.6g} in {before.name}"
    if math.isnan(figure.value):
        raise GateFailed(f"{problem}: no number", hint="the report above is complete")
    if loss <= 0:
        return None
    if noise.p_value is None or noise.error is None:
        return f"{problem}: worse by {loss:.3g}, which fails no gate, as its noise is not known"
    if noise.p_value < _ALPHA:
        raise GateFailed(
            f"{problem}: worse by {loss:.3g}, standard error {noise.error:.2g}, p = {noise.p_value:.2g}",
            hint="write --per-record files of both: llmkit eval diff A B compares them record by record",
        )
    return None


def share_of(figure: Headline, told: Callable[[str], Any]) -> Share | None:
    """How many were right of how many, where the figure of a report is such a share.

    Args:
        figure: of the report.
        told: what the report has under a key, or None.
    """
    if figure.name not in _SHARES:
        return None
    of_samples = figure.name == _ONE_SAMPLE
    count = told("tasks" if of_samples else "records")
    if not isinstance(count, int) or count < 1 or (of_samples and told("samples") != 1):
        return None
    right = figure.value * count
    return (round(right), count) if 0 <= right <= count and abs(right - round(right)) < 1e-6 * count else None


def check_share(value: float | None, flag: str) -> None:
    """Refuse a limit on a share that no share can meet or miss.

    Raises:
        UsageError: not between 0 and 1.
    """
    if value is not None and not 0 <= value <= 1:
        raise UsageError(f"{flag} {value:g}: a share is between 0 and 1", hint=f"{flag} 0.8")
