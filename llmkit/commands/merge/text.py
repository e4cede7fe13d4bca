"""A merge and its plan, for people."""

from collections.abc import Sequence
from typing import Any

from llmkit.commands.convert.text import check_text
from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_size
from llmkit.errors import some_of

_KINDS = {"extract": "LoRA adapter"}
_MOST = 20
"""Rows of an extraction: the weakest of its matrices."""


def merge_text(report: Any, *, width: int) -> str:
    """A MergeReport as facts, and the tensors of a plan or the matrices of an extraction as a table."""
    facts: Facts = [
        *((one.name, _model(one)) for one in report.models),
        *(("adapter", _adapter(one)) for one in report.adapters),
        ("into", _into(report)),
        ("method", report.method or report.expression),
        ("model", f"{report.model_type}, {format_count(report.parameters)} parameters"),
        ("weights", _weights(report)),
        ("size", format_size(report.size_bytes)),
        ("memory", f"about {format_bytes(report.memory_bytes)} at work"),
        ("explained", None if report.explained is None else f"{report.explained:.2%} of the difference"),
        ("left out", _some(report.left_out)),
        ("tokenizer", report.tokenizer_sha256[:12] if report.tokenizer_sha256 else None),
        ("check", check_text(report.check) if report.check is not None else None),
        *(("note", note) for note in report.notes),
    ]
    lines = [title_line(report.out, _KINDS.get(report.job, "model folder")), *facts_lines(facts, width)]
    if report.rows:
        lines += ["", _tensors(report.rows)]
    if report.matrices:
        lines += ["", _matrices(report.matrices)]
    return "\n".join(lines)


def _model(one: Any) -> list[str]:
    said = [one.path, one.dtype + (", made plain numbers" if one.quantised else "")]
    said += [f"weight {one.weight:g}"] if one.weight is not None else []
    return said + ([f"density {one.density:g}"] if one.density is not None else [])


def _adapter(one: Any) -> list[str]:
    said = [one.path, f"scale {one.scale:g}", one.variant, plural(one.matrices, "low-rank pair")]
    if one.ranks:
        said.append(f"rank {' '.join(map(str, one.ranks))}")
    return said + ([f"{one.saved} whole"] if one.saved else [])


def _into(report: Any) -> str | None:
    if report.into == "original" and report.quantised_difference is not None:
        gap = f"{report.quantised_difference:.3g}"
        return f"the original; logits differ by up to {gap} from the quantised base's"
    return {"original": "the original", "dequantised": "the dequantised base", None: None}[report.into]


def _weights(report: Any) -> str:
    tensors = plural(report.tensors, "tensor")
    return f"{report.dtype}, {tensors} in {plural(report.files, 'file')}, {report.changed:,} changed"


def _some(names: Sequence[str]) -> str | None:
    return f"{some_of(names)}: no matrix of a layer, and not the same in both" if names else None


def _tensors(rows: Sequence[Any]) -> str:
    table = [("tensor", "dtype", "shape", "size", "from")]
    table += [
        (one.name, one.dtype, "x".join(map(str, one.shape)), format_bytes(one.size_bytes), one.source)
        for one in rows
    ]
    return align(table, right=(3,))


def _matrices(rows: Sequence[Any]) -> str:
    """The worst first: what an adapter of this rank holds least of."""
    table = [("matrix", "shape", "rank", "explained", "norm")]
    worst = sorted(rows, key=lambda one: (one.explained, one.name))
    table += [
        (one.name, "x".join(map(str, one.shape)), str(one.rank), f"{one.explained:.2%}", f"{one.norm:.4g}")
        for one in worst[:_MOST]
    ]
    text = align(table, right=(2, 3, 4))
    return text + (f"\nand {len(rows) - _MOST} more (--json has all)" if len(rows) > _MOST else "")
