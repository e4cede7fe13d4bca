"""How the figures of `llmkit bench` are shown."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from llmkit.commands.values import format_bytes, format_count

if TYPE_CHECKING:
    from llmkit.probe.bench import BenchReport

BenchFormat = Literal["md", "jsonl", "json"]


def print_bench(report: "BenchReport", bench_format: BenchFormat) -> None:
    """The report on stdout: a Markdown table, a JSON object a row, or all of it as one object."""
    import msgspec

    if bench_format == "md":
        sys.stdout.write(_markdown(report))
    elif bench_format == "json":
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    else:
        shared = {"schema": report.schema, "bench": report.bench, "noisy": report.noisy}
        for row in report.rows:
            sys.stdout.buffer.write(msgspec.json.encode({**shared, **msgspec.to_builtins(row)}) + b"\n")
    sys.stdout.flush()


def _markdown(report: "BenchReport") -> str:
    header = ("case", "tokens/s", "MB/s", "seconds", "spread", "of the peer", "of its CPU time")
    rows = [
        (
            row.name,
            f"{row.tokens_per_second:,.0f}",
            f"{row.bytes_per_second / 1e6:.2f}",
            f"{row.median_seconds:.3f}",
            f"±{row.spread:.1%}",
            f"{row.ratio:.1%}",
            f"{row.cpu_ratio:.1%}",
        )
        for row in report.rows
    ]
    machine = report.environment
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    work = f"{report.work['documents']:,} documents, {format_bytes(report.work['bytes'])}"
    return _table(header, rows) + (
        f"\n{work}, {format_count(report.work['tokens'])} tokens, {report.work['rounds']} rounds in turns\n"
        f"{machine.cpu}, {machine.cores} cores, load {machine.load_average:.1f}; "
        f"Python {machine.python}, {versions}\n"
    )


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table that is also aligned for the eye: names to the left, figures to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    rule = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
    lines = []
    for row in (header, rule, *rows):
        name, *figures = row
        cells = [name.ljust(widths[0]), *map(str.rjust, figures, widths[1:])]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)
