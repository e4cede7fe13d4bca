"""Shards, a row of them, and where a document went, as text for people."""

from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes
from llmkit.workflows.show.rows import RowReport, Segment, TraceReport
from llmkit.workflows.show.shards import ShardsReport

_IDS_IN_A_LINE = 16
_SHARDS_SHOWN = 12


def shards_text(report: ShardsReport, *, width: int) -> str:
    """A shard folder, or one shard."""
    slots = max(1, report.tokens + report.padding_tokens)
    order = "in the order of their documents" if report.seed is None else f"shuffled by seed {report.seed}"
    special = [f"{name} {token_id:,}" for name, token_id in report.special_ids.items()]
    text = None
    if report.text_bytes is not None:
        text = f"{format_bytes(report.text_bytes)}, {report.bytes_per_token:.2f} bytes a token"
    facts: Facts = [
        ("rows", f"{report.rows:,} of {report.seq_len + 1:,} ids, {order}"),
        ("tokens", f"{report.tokens:,}, and {report.padding_tokens / slots:.2%} padding"),
        ("documents", f"{report.documents:,}"),
        ("packed", f"{report.strategy}, boundary {report.boundary}, long documents {report.long}"),
        ("vocabulary", f"{report.vocab_size:,} ids, stored as {report.dtype}"),
        ("special", special),
        ("tokenizer", report.tokenizer_sha256[:12] if report.tokenizer_sha256 else "not known"),
        ("text", text),
        (
            "size",
            f"{format_bytes(report.size_bytes)} in {plural(report.frames, 'frame')}, "
            f"{report.size_bytes / max(1, report.raw_bytes):.0%} of the ids as they are",
        ),
        ("made by", report.made_by),
    ]
    lines = [title_line(report.path, report.kind), *facts_lines(facts, width)]
    if len(report.shards) > 1:
        rows = [
            (entry.file, f"{entry.rows:,}", f"{entry.tokens:,}", format_bytes(entry.file_bytes))
            for entry in report.shards[:_SHARDS_SHOWN]
        ]
        table = align([("shard", "rows", "tokens", "size"), *rows], right=(1, 2, 3), indent=2)
        lines += ["", table]
        if len(report.shards) > _SHARDS_SHOWN:
            lines.append(f"  and {len(report.shards) - _SHARDS_SHOWN} more")
    return "\n".join(lines)


def verified_text(report: ShardsReport) -> str:
    """Shards in which nothing is wrong."""
    return (
        f"{report.path}: sound: {plural(len(report.shards), 'shard')}, {plural(report.frames, 'frame')}, "
        f"{plural(report.rows, 'row')}, {plural(report.tokens, 'token')}"
    )


def row_text(report: RowReport) -> str:
    """A row: each document in it as its text or its ids."""
    lines = [f"row {report.row} of {report.path} ({report.shard})"]
    for segment in report.segments:
        lines += ["", _heading(segment), *_body(segment)]
    if report.padding_tokens:
        lines += ["", f"{plural(report.padding_tokens, 'id')} of padding"]
    return "\n".join(lines)


def trace_text(reports: list[TraceReport]) -> str:
    """The rows that documents with one id went to."""
    lines = []
    for report in reports:
        lost = f", {report.lost_tokens:,} more lost" if report.lost_tokens else ""
        about = f"{plural(report.tokens, 'token')}{lost}{_origin(report)}"
        lines.append(f"document {report.document} {report.id!r}: {about}")
        rows = [
            (
                f"row {place.row:,}",
                f"ids {place.start:,} to {place.start + place.length - 1:,}",
                f"tokens {place.offset:,} to {place.offset + place.length - 1:,}",
                place.shard,
            )
            for place in report.places
        ]
        lines += align(rows, indent=2).split("\n")
    return "\n".join(lines)


def _heading(segment: Segment) -> str:
    count = len(segment.tokens)
    part = f" from token {segment.offset:,}" if segment.offset else ""
    loss = "" if segment.loss_tokens == count else f", {segment.loss_tokens:,} of them with loss"
    about = f"{plural(count, 'token')}{loss}{_origin(segment)}"
    return f"-- document {segment.document} {segment.id!r}{part}, {about}"


def _origin(one: Segment | TraceReport) -> str:
    """Source and licence, where they are known."""
    source = f", source {one.source}" if one.source else ""
    return source + (f", licence {one.license}" if one.license else "")


def _body(segment: Segment) -> list[str]:
    if segment.text is not None:
        return [segment.text]
    ids = segment.tokens
    return [
        " ".join(map(str, ids[start : start + _IDS_IN_A_LINE]))
        for start in range(0, len(ids), _IDS_IN_A_LINE)
    ]
