"""`llmkit show MODEL --embeddings` as text for people."""

from collections.abc import Sequence

from llmkit.commands.facts import Facts, facts_lines, plural, quoted, title_line, visible
from llmkit.commands.shared import align
from llmkit.workflows.show.embeddings import EmbeddingsReport, Row

_UNUSED_SHOWN = 12


def embeddings_text(report: EmbeddingsReport, *, width: int) -> str:
    """Facts; then the neighbours of the token that was named; then what looks unused."""
    head = "and of the head" if report.tied else "the head has its own"
    facts: Facts = [
        ("rows", f"{report.vocab_size:,} of {report.hidden_size:,} numbers, {report.dtype}, {head}"),
        (
            "lengths",
            f"{report.length_min:.3g} to {report.length_max:.3g}, median {report.length_median:.3g}",
        ),
        ("longest", _named(report.longest)),
        ("shortest", _named(report.shortest)),
        (
            "look unused",
            [f"{count:,} {sign}" for sign, count in report.unused_by_sign.items()] or "none",
        ),
    ]
    lines = [title_line(report.path, "embeddings"), *facts_lines(facts, width)]
    if report.token is not None:
        rows = [
            (visible(quoted(one.text)), f"{one.id}", f"{one.cosine:.3f}", f"{one.length:.3g}")
            for one in report.neighbours
        ]
        table = align([("token", "id", "cosine", "length"), *rows], right=(1, 2, 3), indent=2)
        lines += ["", f"  near {quoted(report.token.text)} (id {report.token.id})", table]
    if report.unused:
        rows = [
            (visible(quoted(one.text)), f"{one.id}", f"{one.length:.3g}", one.sign)
            for one in report.unused[:_UNUSED_SHOWN]
        ]
        table = align([("token", "id", "length", "sign"), *rows], right=(1, 2), indent=2)
        left = len(report.unused) - _UNUSED_SHOWN
        more = [f"  and {plural(left, 'token')} more; --json has all"] if left > 0 else []
        lines += ["", "  look unused", table, *more]
    return "\n".join(lines)


def _named(rows: Sequence[Row]) -> list[str]:
    return [f"{quoted(one.text)} {one.length:.3g}" for one in rows[:5]]
