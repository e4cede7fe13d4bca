"""What an evaluation must not fall short of: limits on its figure, and the report of an earlier run."""

import math
from pathlib import Path

import msgspec

from llmkit.errors import DataError, GateFailed, MissingError, UsageError
from llmkit.formats.jsonl import MALFORMED
from llmkit.probe.evaluate.headline import Headline, is_worse


class _Earlier(msgspec.Struct, frozen=True):
    """What is read of an earlier report."""

    schema: str
    headline: Headline


def read_headline(path: Path, schema: str | None = None) -> Headline:
    """The figure of a report that --json wrote.

    Args:
        path: of the report.
        schema: that it must have; None: that of any evaluation.

    Raises:
        MissingError: no such file.
        DataError: it is something else.
    """
    try:
        earlier = msgspec.json.decode(path.read_bytes(), type=_Earlier)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", hint=f"llmkit eval … --json > {path}") from None
    except MALFORMED as error:
        raise DataError(
            f"{path}: not a report of llmkit eval ({error})", hint="--json writes one to stdout"
        ) from None
    if schema is not None and earlier.schema != schema:
        raise DataError(
            f"{path}: a report of another kind (found {earlier.schema}, this is {schema})",
            hint="compare with one of the same command",
        )
    return earlier.headline


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


def check_baseline(figure: Headline, before: Headline | None, path: Path | None) -> None:
    """Hold a figure against an earlier one.

    Raises:
        DataError: they are two figures.
        GateFailed: it is worse, beyond noise.
    """
    if before is None:
        return
    if before.name != figure.name:
        raise DataError(
            f"{path}: has {before.name}, and this run {figure.name}", hint="give both the same options"
        )
    if is_worse(figure, before):
        noise = math.hypot(figure.error, before.error)
        raise GateFailed(
            f"{figure.name} {figure.value:.6g}, {before.value:.6g} in {path}: worse by "
            f"{abs(figure.value - before.value):.3g}, standard error {noise:.2g}",
            hint="llmkit eval diff compares two --per-record files record by record",
        )


def check_share(value: float | None, flag: str) -> None:
    """Refuse a limit on a share that no share can meet or miss.

    Raises:
        UsageError: not between 0 and 1.
    """
    if value is not None and not 0 <= value <= 1:
        raise UsageError(f"{flag} {value:g}: a share is between 0 and 1", hint=f"{flag} 0.8")
