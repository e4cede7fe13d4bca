"""What an evaluation must not fall short of: limits on its figure, and the report of an earlier run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from llmkit.errors import DataError, GateFailed, MissingError, UsageError
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.streams import STDIO, open_input
from llmkit.probe.evaluate.headline import Headline, is_worse
from llmkit.workflows.eval.work import Work, check_same


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
    return parse_earlier(content, "stdin" if path == STDIO else str(path), schema)


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
        raise GateFailed(
            f"{figure.name} {figure.value:.6g} ± {figure.error:.2g}, {beyond} {flag} {limit:g}",
            hint=f"the report above is complete; {flag} is where it stops being good enough",
        )


def check_baseline(now: Evaluated, before: Earlier | None) -> None:
    """Hold a report against an earlier one.

    Raises:
        DataError: they are two figures, or of other inputs or settings.
        GateFailed: it is worse, beyond noise.
    """
    if before is None:
        return
    figure, earlier = now.headline, before.headline
    if earlier.name != figure.name:
        raise DataError(
            f"{before.name}: has {earlier.name}, and this run {figure.name}",
            hint="give both the same options",
        )
    check_same(now.work, before.report, before.name, "this run")
    if is_worse(figure, earlier):
        noise = math.hypot(figure.error, earlier.error)
        raise GateFailed(
            f"{figure.name} {figure.value:.6g}, {earlier.value:.6g} in {before.name}: worse by "
            f"{abs(figure.value - earlier.value):.3g}, standard error {noise:.2g}",
            hint="llmkit eval diff compares two --per-record files record by record",
        )


def check_share(value: float | None, flag: str) -> None:
    """Refuse a limit on a share that no share can meet or miss.

    Raises:
        UsageError: not between 0 and 1.
    """
    if value is not None and not 0 <= value <= 1:
        raise UsageError(f"{flag} {value:g}: a share is between 0 and 1", hint=f"{flag} 0.8")
