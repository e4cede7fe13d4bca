"""What training a tokenizer made, and what it would make, for people."""

from typing import Any

from llmkit.commands.facts import plural, quoted, visible
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_need, format_seconds

SOURCES_SHOWN = 20


def describe_report(report: Any) -> str:
    """A TrainTokenizerReport as a table, then a row for each source."""
    sampled = f", a sample of {format_bytes(report.trained_bytes)} trained on" if report.is_sample else ""
    rows: list[tuple[str, ...]] = [
        ("tokenizer", f"{report.type}, {plural(report.vocab_size, 'id')} ({report.out})"),
        ("special", " ".join(report.special_tokens) or "none"),
        ("text", f"{plural(report.documents, 'document')}, {format_bytes(report.text_bytes)}{sampled}"),
        ("bytes/token", f"{report.bytes_per_token:.3f}"),
        ("unused", f"{plural(report.unused_tokens, 'piece')} that the text never turns into"),
        ("longest", "  ".join(_piece(piece) for piece in report.longest[:4])),
    ]
    if report.bad_lines:
        rows.append(("bad", f"{plural(report.bad_lines, 'line')} passed over"))
    memory = format_bytes(report.peak_memory_bytes)
    rows.append(("took", f"{format_seconds(report.seconds)}, {memory} of memory"))
    table = _sources(report)
    return align(rows) + (f"\n\n{table}" if table else "")


def describe_plan(plan: Any) -> str:
    """A TrainTokenizerPlan as a table."""
    size = "stdin" if plan.input_bytes is None else format_bytes(plan.input_bytes)
    text = format_bytes(plan.about_text_bytes)
    sample = {True: f"a sample of {text}", False: f"all of it, about {text}", None: f"at most {text}"}
    rows: list[tuple[str, ...]] = [
        ("inputs", f"{plural(len(plan.inputs), 'file')} ({size})"),
        ("trains on", sample[plan.is_sample]),
        ("tokenizer", f"{plan.type}, at most {plural(plan.vocab_size, 'id')}, pattern {plan.pattern}"),
        ("special", " ".join(plan.special_tokens) or "none"),
        ("memory", f"about {format_need(plan.about_memory_bytes, plan.memory_available_bytes, 'free')}"),
        ("disk", f"about {format_need(plan.disk_bytes, plan.disk_free_bytes, 'free')}"),
        ("time", f"about {format_seconds(plan.about_seconds)}"),
        ("writes", plan.out),
    ]
    return align(rows)


def _sources(report: Any) -> str:
    """Compression by source; nothing where there is one and no held-out text."""
    if len(report.sources) < 2 and not report.valid:
        return ""
    header = ("bytes/token", "documents", "bytes", "source")
    rows = [_row(source, source.source) for source in report.sources[:SOURCES_SHOWN]]
    if len(report.sources) > SOURCES_SHOWN:
        rows.append(("", "", "", f"and {len(report.sources) - SOURCES_SHOWN:,} more"))
    rows += [_row(source, f"{source.source} (held out)") for source in report.valid]
    return align([header, *rows], right=(0, 1, 2))


def _row(source: Any, name: str) -> tuple[str, ...]:
    ratio = "-" if source.bytes_per_token is None else f"{source.bytes_per_token:.3f}"
    return ratio, f"{source.documents:,}", format_bytes(source.bytes), visible(name)


def _piece(piece: Any) -> str:
    """A piece as it is quoted; bytes of no text as they are."""
    return f"0x{piece.hex}" if piece.text is None else quoted(piece.text)
