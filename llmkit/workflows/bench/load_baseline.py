"""A load on a server beside an earlier one: is it slower?"""

from collections.abc import Iterator
from pathlib import Path

from llmkit.errors import DataError, GateFailed
from llmkit.probe.load_rows import LoadRow, Percentiles
from llmkit.workflows.bench.report import read_report_of
from llmkit.workflows.bench.serve import PROMPTS, BenchServeReport


def read_load(path: Path) -> BenchServeReport:
    """An earlier report of `llmkit bench serve --format json`; raises what `read_report_of` does."""
    return read_report_of(path, BenchServeReport, "bench serve")


def check_load(report: BenchServeReport, earlier: BenchServeReport, name: str, tolerance: float) -> None:
    """Hold what came of a load against what came of an earlier one.

    Args:
        report, earlier: of the same load.
        name: of the earlier one's file.
        tolerance: share by which a rate may be lower; a time may be as much longer as such a rate makes it.

    Raises:
        DataError: the two loads differ, or the earlier report does not say enough of its own.
        GateFailed: tokens a second, or the median of a time, is worse by more than `tolerance`.
    """
    for key, now in report.work.items():
        if key not in earlier.work:
            raise DataError(
                f"{name}: it does not say whether it is of another load (no {key})",
                hint="make it anew: llmkit bench serve --format json",
            )
        if earlier.work[key] != now:
            told = "other prompts" if key == PROMPTS else f"{key} {earlier.work[key]}, now {now}"
            raise DataError(f"{name}: another load ({told})", hint="compare with one of the same flags")
    then = {row.kind: row for row in earlier.rows}
    slower = [
        f"{row.kind}: {what}"
        for row in report.rows
        if row.kind in then
        for what in _slower(row, then[row.kind], tolerance)
    ]
    if slower:
        raise GateFailed("; ".join(slower), hint=f"the baseline is {name}; --fail-slower allows more")


def _slower(now: LoadRow, then: LoadRow, tolerance: float) -> Iterator[str]:
    """What of one kind of request is worse, each as words."""
    if now.tokens_per_second < then.tokens_per_second * (1 - tolerance):
        yield f"{now.tokens_per_second:,.4g} tokens/s, was {then.tokens_per_second:,.4g}"
    for field, words in _TIMES.items():
        new: Percentiles | None = getattr(now, field)
        old: Percentiles | None = getattr(then, field)
        if new is not None and old is not None and new.p50 * (1 - tolerance) > old.p50:
            yield f"{new.p50 * 1e3:,.3g} ms {words}, was {old.p50 * 1e3:,.3g}"


_TIMES = {
    "first_token": "to the first text",
    "between_tokens": "between two tokens",
    "whole": "for a whole answer",
}
