"""How the figures of `llmkit bench` are shown."""

import csv
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from llmkit.commands.facts import plural
from llmkit.commands.shared import align, fitted, print_report
from llmkit.commands.terminal import terminal_columns
from llmkit.commands.values import format_bytes, format_count
from llmkit.formats.jsonl import encode_line

if TYPE_CHECKING:
    from llmkit.probe.bench import BenchReport, BenchRow
    from llmkit.workflows.bench.plan import PlanReport

BenchFormat = Literal["md", "jsonl", "csv", "json"]
Column = tuple[str, "Callable[[BenchRow], str]"]

_SHARED: tuple[Column, ...] = (("spread", lambda row: "" if len(row.seconds) == 1 else f"±{row.spread:.1%}"),)
_TOKENS: Column = ("tokens/s", lambda row: _digits(row.tokens_per_second))
_MFU: Column = ("MFU", lambda row: _share(row.mfu))
_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "tokenize": (
        _TOKENS,
        ("MB/s", lambda row: f"{(row.bytes_per_second or 0) / 1e6:.2f}"),
        ("seconds", lambda row: f"{row.median_seconds:.3f}"),
        *_SHARED,
        ("of the peer", lambda row: _share(row.ratio)),
        ("of its CPU time", lambda row: _share(row.cpu_ratio)),
    ),
    "prefill": (
        _TOKENS,
        ("TTFT ms", lambda row: _milliseconds(row.first_token_seconds)),
        *_SHARED,
        _MFU,
    ),
    "decode": (
        _TOKENS,
        ("ms/token", lambda row: _milliseconds(row.seconds_per_token)),
        *_SHARED,
        ("GB/s", lambda row: f"{(row.bytes_per_second or 0) / 1e9:.2f}"),
        ("MBU", lambda row: _share(row.mbu)),
    ),
    "load": (
        ("first token ms", lambda row: _milliseconds(row.first_token_seconds)),
        *_SHARED,
        ("GB/s", lambda row: f"{(row.bytes_per_second or 0) / 1e9:.2f}"),
    ),
    "train": (
        _TOKENS,
        ("ms/update", lambda row: _milliseconds(row.median_seconds)),
        *_SHARED,
        _MFU,
    ),
}
"""What each bench shows of a row, after its name or its point of the sweep."""
_MEMORY: Column = ("peak memory", lambda row: format_bytes(row.memory_bytes or 0))
_RATIO: Column = ("× peer", lambda row: "" if row.ratio is None else f"{row.ratio:.2f}")


def print_bench(report: "BenchReport", bench_format: BenchFormat) -> None:
    """The report on stdout; see `print_rows`."""
    machine = report.environment
    shared = {
        "schema": report.schema,
        "bench": report.bench,
        "model": report.work.get("model", ""),
        "cpu": machine.cpu,
        "load_average": machine.load_average,
        "noisy": report.noisy,
    }
    print_rows(report, bench_format, "rows", _markdown, lambda _, row: {**shared, **_flat(row)})


def print_plan(plan: "PlanReport", bench_format: BenchFormat) -> None:
    """What a bench would measure, on stdout, in the formats that its result would have."""
    print_rows(plan, bench_format, "cases", _plan_markdown, lambda whole, row: _flat({**whole, **row}))


def print_rows(
    report: Any,
    bench_format: BenchFormat,
    field: str,
    to_markdown: Callable[[Any], str],
    columns: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]],
) -> None:
    """A report on stdout: a Markdown table, all of it as one JSON object, or a row a line.

    A line of jsonl stands by itself: it says what was measured and on which machine.

    Args:
        report: a struct.
        bench_format: which of these.
        field: the one that has the rows.
        to_markdown: makes the table.
        columns: of a line of CSV, from the rest of the report and the row.
    """
    import msgspec

    whole = msgspec.to_builtins(report)
    rows = whole.pop(field)
    if bench_format == "md":
        sys.stdout.write(fitted(to_markdown(report)))
    elif bench_format == "json":
        sys.stdout.buffer.write(encode_line(report))
    elif bench_format == "jsonl":
        sys.stdout.buffer.write(b"".join(encode_line({**whole, **row}) for row in rows))
    else:
        write_csv([columns(whole, row) for row in rows])
    sys.stdout.flush()


def print_work(plan: Any, bench_format: BenchFormat) -> None:
    """A plan that has no cases of several settings, on stdout, in the formats that its result would have."""
    if bench_format != "csv":
        print_report(plan, bench_format != "md", _work_text)
        return
    import msgspec

    told = msgspec.to_builtins(plan)
    write_csv([told | {name: _said(value) for name, value in told.items() if isinstance(value, tuple)}])
    sys.stdout.flush()


def _work_text(plan: Any) -> str:
    """What a plan says, but its schema."""
    told = ((name, getattr(plan, name)) for name in plan.__struct_fields__ if name != "schema")
    return align([(name.replace("_", " "), _said(value)) for name, value in told if value is not None])


def _said(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plan_markdown(plan: "PlanReport") -> str:
    header = ("engine", *plan.cases[0].case)
    rows = [(one.engine, *map(str, one.case.values())) for one in plan.cases]
    return (
        f"{markdown_table(header, rows)}\nbench {plan.bench} of {plan.model}, "
        f"{format_count(plan.parameters)} parameters; {plural(plan.rounds, 'round')} and one to warm up, "
        f"about {format_bytes(plan.memory_bytes)} of memory\n"
    )


def _markdown(report: "BenchReport") -> str:
    columns = _COLUMNS[report.bench]
    rows = report.rows
    if rows[0].case:
        lead = ("engine", *rows[0].case)
        names = [(row.engine, *map(str, row.case.values())) for row in rows]
        columns += (_MEMORY, *([_RATIO] if any(row.ratio is not None for row in rows) else []))
    else:
        lead, names = ("case",), [(row.name,) for row in rows]
    header = (*lead, *(title for title, _ in columns))
    cells = [(*name, *(show(row) for _, show in columns)) for name, row in zip(names, rows, strict=True)]
    return f"{markdown_table(header, cells)}\n{_footer(report)}"


def _footer(report: "BenchReport") -> str:
    """What was measured, against which ceilings, and on which machine: a line each."""
    work, machine = report.work, report.environment
    rounds = f"{plural(work['rounds'], 'round')} in turns"
    if "documents" in work:
        size = f"{plural(work['documents'], 'document')}, {format_bytes(work['bytes'])}"
        lines = [f"{size}, {format_count(work['tokens'])} tokens, {rounds}"]
    else:
        digest = f", sha256 {work['model_sha256'][:12]}" if work["model_sha256"] else ""
        lines = [
            f"{work['model']}, {format_count(work['parameters'])} parameters, weights {work['weights']}"
            f"{digest}; {rounds}"
        ]
    lines += [
        f"{plural(one.threads, 'thread')}, {one.dtype}: measured {one.bytes_per_second / 1e9:.1f} GB/s "
        f"({one.bytes_source}), {one.flops_per_second / 1e9:,.0f} GFLOP/s ({one.flops_source})"
        for one in report.ceilings
    ]
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    cores = f"{machine.cores} cores, load {machine.load_average:.1f}"
    features = f" ({' '.join(machine.features)})" if machine.features and report.ceilings else ""
    lines.append(f"{machine.cpu}{features}, {cores}; Python {machine.python}, {versions}")
    return "".join(f"{line}\n" for line in lines)


def markdown_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table that is also aligned for the eye: names to the left, figures to the right.

    On a terminal that is too narrow for it, columns without Markdown's bars, as other tables there.
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    terminal = terminal_columns()
    if terminal is not None and sum(widths) + 3 * len(widths) + 1 > terminal:
        return align((header, *rows), right=tuple(range(1, len(header)))) + "\n"
    rule = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
    lines = []
    for row in (header, rule, *rows):
        name, *figures = row
        cells = [name.ljust(widths[0]), *map(str.rjust, figures, widths[1:])]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def write_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Lines of RFC 4180 under one header; a value that is not there is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    sys.stdout.write(text.getvalue())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose `case` is columns of its own, and whose list of rounds is one column."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= value
        else:
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def _digits(number: float) -> str:
    """Whole from 100 on, three digits below: a large model may take seconds for a token."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else _digits(seconds * 1e3)
