"""What every bench does around its measurement: refuse a busy machine, read and compare with a baseline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from llmkit.errors import DataError, GateFailed, MissingError, ResourceError, at_place
from llmkit.formats.jsonl import MALFORMED
from llmkit.probe.bench import BenchReport, missing_rows, require_comparable, slower_rows
from llmkit.probe.environment import Environment

Report = TypeVar("Report")


def refuse_busy(environment: Environment, require_quiet: bool) -> None:
    """Measure nothing where figures would mean little and quiet is asked for.

    Raises:
        ResourceError: the machine is busy.
    """
    if require_quiet and not environment.quiet:
        raise ResourceError(
            f"the machine is busy (load average {environment.load_average:.1f})",
            hint="wait until it is quiet, or leave out --require-quiet",
        )


def check_comparable(baseline: Path, bench: str, work: Mapping[str, Any], names: Sequence[str]) -> None:
    """Read a baseline before anything is measured.

    Raises:
        MissingError, DataError: no such report, or not one that says something of these cases.
    """
    earlier = read_report(baseline)
    with at_place(str(baseline)):
        require_comparable(bench, work, names, earlier)


def check_baseline(report: BenchReport, baseline: Path, tolerance: float) -> list[str]:
    """Compare with an earlier report.

    Returns:
        Names of rows that the baseline does not have, and that were compared with nothing.

    Raises:
        GateFailed: a row is slower than the baseline by more than `tolerance`, and beyond noise.
        MissingError, DataError: no such report, or not one that can be compared.
    """
    earlier = read_report(baseline)
    with at_place(str(baseline)):
        slower = slower_rows(report, earlier, tolerance)
    if slower:
        raise GateFailed("; ".join(slower), hint=f"the baseline is {baseline}; --fail-slower allows more")
    return missing_rows(report.own_names, earlier)


def read_report(path: Path) -> BenchReport:
    """A report as `--format json` wrote it; raises what `read_report_of` does."""
    return read_report_of(path, BenchReport, "bench")


def read_report_of(path: Path, kind: type[Report], command: str) -> Report:
    """A report as `--format json` of a command wrote it.

    Raises:
        MissingError: no such file.
        DataError: it is something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise MissingError(
            f"{path}: no such file", hint=f"llmkit {command} … --format json > {path}"
        ) from None
    except MALFORMED as error:
        raise DataError(
            f"{path}: not a report of llmkit {command} ({error})", hint="--format json writes one"
        ) from None
