"""A run of `llmkit quantize` and its plan, for people."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.plot import Series, draw_curves
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_size

_FORMS = {"gguf": "GGUF file"}


def quantize_text(report: Any, *, width: int, planned: bool = False) -> str:
    """A QuantizeReport as facts, of what is there or is `planned`; the units are in --json."""
    quality = report.quality
    types: Counter[str] = Counter()
    total = report.parameters
    for unit in report.units:
        types[unit.stored_as] += unit.parameters
    facts: Facts = [
        ("from", f"{report.source}, {format_bytes(report.source_bytes)}"),
        ("model", f"{report.model_type}, {format_count(report.parameters)} parameters"),
        ("type", f"{report.type}, {report.bits_per_weight:.4g} bits a weight"),
        ("size", format_size(report.size_bytes)),
        ("weights", ", ".join(f"{name} {count / total:.1%}" for name, count in types.most_common())),
        ("method", _method(report)),
        *(_quality(quality) if quality is not None else []),
        ("took", f"{report.seconds:.1f} s" if report.seconds else None),
        *_fallbacks(report),
        *(("note", note) for note in report.notes),
    ]
    form = _FORMS.get(report.container, "model folder")
    title = report.out if report.out and (report.written or planned) else "nothing written"
    return "\n".join([title_line(title, form), *facts_lines(facts, width)])


def _fallbacks(report: Any) -> Facts:
    """Why matrices could not have the type asked for, each reason once; --json has it for each matrix."""
    start = "fallback: "
    names: dict[str, list[str]] = {}
    for unit in report.units:
        if unit.reason.startswith(start):
            names.setdefault(unit.reason.removeprefix(start), []).append(unit.name)
    return [
        ("fallback", f"{found[0]}{f' and {len(found) - 1:,} more' if found[1:] else ''}: {reason}")
        for reason, found in names.items()
    ]


def _method(report: Any) -> str:
    if not report.calibration_tokens:
        return (
            f"{report.method}, no calibration text"
            if report.imatrix is None
            else (f"{report.method}, weighed by {report.imatrix}")
        )
    return f"{report.method}, weighed over {plural(report.calibration_tokens, 'token')}"


def _quality(quality: Any) -> Facts:
    """What it cost, in llama-perplexity's terms."""
    far = quality.kld_percentiles
    return [
        (
            "KL divergence",
            f"{quality.kld:.6f} ± {quality.kld_error:.6f} (median {far['50']:.2g}, 99 % {far['99']:.2g}, "
            f"most {quality.kld_max:.2g}) over {plural(quality.positions, 'token')}",
        ),
        (
            "perplexity",
            f"{quality.perplexity_base:.4f} to {quality.perplexity:.4f}, "
            f"times {quality.ratio:.6f} ± {quality.ratio_error:.6f}",
        ),
        ("same best token", f"{quality.same_top:.2%} ± {quality.same_top_error:.2%}"),
        ("change of p", f"{quality.delta_p_rms:.3%} root mean square"),
    ]


def imatrix_text(report: Any) -> str:
    """An ImatrixReport as a line."""
    return (
        f"{report.out}: importance of what {plural(report.matrices, 'tensor')} read, over "
        f"{plural(report.calibration_tokens, 'token')}, {format_bytes(report.size_bytes)}"
    )


def sensitivity_text(rows: Sequence[Any]) -> str:
    """What rounding each unit alone costs: a row a unit, a column a type, KL divergences in thousandths."""
    return _divergences((row.name, row.grid, row.kld) for row in rows)


def kv_text(rows: Sequence[Any]) -> str:
    """The same of keys and values: a row for each in a layer, a column a form."""
    return _divergences(
        (f"{'all layers' if row.layer is None else f'layer {row.layer}'}, {row.part}", row.form, row.kld)
        for row in rows
    )


def _divergences(cells: Iterable[tuple[str, str, float]]) -> str:
    """Rows and columns in the order in which they come; - where there is no cell."""
    table: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for name, column, kld in cells:
        table.setdefault(name, {})[column] = f"{1000 * kld:.4g}"
        columns[column] = None
    lines = [("KL divergence / 1000", *columns)]
    lines += [(name, *(found.get(column, "-") for column in columns)) for name, found in table.items()]
    return align(lines, right=tuple(range(1, len(columns) + 1)))


def sweep_plot(rows: Sequence[Any]) -> list[str]:
    """KL divergence, as a power of ten, against bits a weight."""
    points = [
        (row.bits_per_weight, math.log10(row.quality.kld))
        for row in sorted(rows, key=lambda row: row.bits_per_weight)
        if row.quality is not None and row.quality.kld > 0
    ]
    return draw_curves([Series("log10 of the KL divergence, by bits a weight", points, "o")], width=70)
