"""How the figures of `llmkit bench serve` are shown."""

from typing import TYPE_CHECKING, Any

from llmkit.commands.bench.text import BenchFormat, markdown_table, print_rows

if TYPE_CHECKING:
    from llmkit.probe.load_rows import LoadRow, Percentiles
    from llmkit.workflows.bench.serve import BenchServeReport


def print_load(report: "BenchServeReport", bench_format: BenchFormat) -> None:
    """The report on stdout; see `print_rows`."""
    shared = {"schema": report.schema, "bench": report.bench}
    print_rows(
        report, bench_format, "rows", load_table, lambda whole, row: {**shared, **whole["work"], **_flat(row)}
    )


def load_table(report: "BenchServeReport") -> str:
    """Rows as Markdown, times in milliseconds, and what was sent."""
    has_goodput = report.work["ttft_target"] is not None
    header = (
        *("requests", "done", "failed", "a second", "tokens/s", "cached"),
        *("TTFT p50 ms", "p90", "p99", "between p50 ms", "p90", "p99", "whole p50 ms", "p99"),
        *(("good a second",) if has_goodput else ()),
    )
    cells = [_cells(row, has_goodput=has_goodput) for row in report.rows]
    work = report.work
    sizes = ""
    if "prompt_tokens" in work:
        sizes = f", prompts of about {work['prompt_tokens']:,} tokens"
        if work["long_share"]:
            sizes += f" and {work['long_share']:.0%} of {work['long_prompt_tokens']:,}"
        if work["shared_tokens"]:
            sizes += f", the first {work['shared_tokens']:,} the same"
    lines = [f"{work['model']}: {work['arrivals']}{sizes}, {report.rows[-1].seconds:.1f} s"]
    if has_goodput:
        lines.append(f"good: the first text within {work['ttft_target']:g} s")
    lines += [f"failed: {one}" for one in failures(report.rows[-1])]
    machine = report.environment
    lines.append(f"client on {machine.cpu}, {machine.cores} cores, load {machine.load_average:.1f}")
    return markdown_table(header, cells) + "\n" + "".join(f"{line}\n" for line in lines)


def failures(row: "LoadRow") -> list[str]:
    """How often requests went wrong in each way, with the first words of the server on it."""
    return [
        f"{count} × {what}" + (f": {row.said[what]}" if what in row.said else "")
        for what, count in row.errors.items()
    ]


def _cells(row: "LoadRow", *, has_goodput: bool) -> tuple[str, ...]:
    share = row.cached_tokens / row.prompt_tokens if row.prompt_tokens else 0.0
    whole = _times(row.whole)
    return (
        *(row.kind, str(row.requests - row.failed), str(row.failed), f"{row.requests_per_second:.2f}"),
        *(f"{row.tokens_per_second:,.0f}", f"{share:.0%}"),
        *(*_times(row.first_token), *_times(row.between_tokens), whole[0], whole[2]),
        *((f"{row.goodput_per_second or 0.0:.2f}",) if has_goodput else ()),
    )


def _times(found: "Percentiles | None") -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    p50, p90, p99 = (
        f"{one * 1e3:,.3g}" if one < 1 else f"{one * 1e3:,.0f}" for one in (found.p50, found.p90, found.p99)
    )
    return p50, p90, p99


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Percentiles and errors as columns of their own."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key == "errors":
            flat[key] = " ".join(f"{what.replace(' ', '-')}={count}" for what, count in value.items())
        elif key == "said":
            flat[key] = "; ".join(f"{what}: {words}" for what, words in value.items())
        elif key in ("first_token", "between_tokens", "whole"):
            flat |= {f"{key}_{name}": (value or {}).get(name) for name in ("p50", "p90", "p99")}
        else:
            flat[key] = value
    return flat
