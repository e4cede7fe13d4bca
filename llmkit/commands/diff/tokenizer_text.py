"""What differs between two tokenizers, as text."""

from llmkit.commands.diff.keys_text import keys_table
from llmkit.commands.facts import Facts, facts_lines, plural, quoted, visible
from llmkit.commands.shared import align
from llmkit.workflows.diff.encodings import EncodingsDiff
from llmkit.workflows.diff.tokenizer import MovedToken, TokenizerDiff

_SHOWN = 8
_TEMPLATE_SHOWN = 20


def tokenizer_lines(report: TokenizerDiff, width: int) -> list[str]:
    """Vocabulary, merges, special ids, settings, template, texts."""
    facts: Facts = []
    if report.vocab_size_a != report.vocab_size_b:
        facts.append(("vocabulary", f"{report.vocab_size_a:,} ids in A, {report.vocab_size_b:,} in B"))
    for name, tokens in (("only in A", report.only_a), ("only in B", report.only_b), ("moved", report.moved)):
        facts.append((name, _tokens(tokens)))
    if report.scores:
        facts.append(("scores", f"of {plural(report.scores, 'piece')} differ"))
    if (merge := report.first_merge) is not None:
        a, b = (" + ".join(map(quoted, one)) if one else "none" for one in (merge.a, merge.b))
        counts = f"{report.merges_a or 0:,} in A, {report.merges_b or 0:,} in B"
        facts.append(("merges", f"{counts}; number {merge.number:,} is the first to differ: {a}, {b}"))
    facts += [(f"{one.role} id", f"{_id(one.a)} in A, {_id(one.b)} in B") for one in report.special_ids]
    lines = [f"tokenizer: {'same' if report.same else 'differ'}", *facts_lines(facts, width)]
    lines += keys_table(report.settings)
    lines += _template(report.chat_template)
    lines += facts_lines([("does not count", [one.key for one in report.remarks])], width)
    return lines if report.encodings is None else [*lines, *_encodings(report.encodings)]


def _tokens(tokens: list[MovedToken]) -> list[str]:
    """`7: 'the' (12)`, the first few and how many more."""
    shown = []
    for one in tokens[:_SHOWN]:
        ids = " to ".join(f"{index:,}" for index in (one.a, one.b) if index is not None)
        shown.append(f"{quoted(one.piece)} {ids}")
    more = [f"and {len(tokens) - _SHOWN:,} more"] if len(tokens) > _SHOWN else []
    return [f"{plural(len(tokens), 'token')}: {shown[0]}", *shown[1:], *more] if tokens else []


def _id(value: int | None) -> str:
    return "none" if value is None else f"{value:,}"


def _template(lines: list[str]) -> list[str]:
    if not lines:
        return []
    more = [f"    and {len(lines) - _TEMPLATE_SHOWN:,} lines more"] * (len(lines) > _TEMPLATE_SHOWN)
    return ["  chat template", *(f"    {visible(line)}" for line in lines[:_TEMPLATE_SHOWN]), *more]


def _encodings(report: EncodingsDiff) -> list[str]:
    counts = f"{report.tokens_a:,} tokens in A, {report.tokens_b:,} in B"
    if not report.differing:
        return [f"  texts: all {report.texts:,} get the same ids ({counts})"]
    title = f"  texts: {report.differing:,} of {report.texts:,} get other ids ({counts})"
    rows = [
        (visible(one.where), f"from {one.first:,}", " ".join(map(quoted, one.pieces_a)),
         " ".join(map(quoted, one.pieces_b)))
        for one in report.changed[:_SHOWN]
    ]  # fmt: skip
    more = [f"  and {len(report.changed) - _SHOWN:,} more (--json has them)"] * (len(report.changed) > _SHOWN)
    return [title, *align([("text", "token", "A", "B"), *rows], indent=2).split("\n"), *more]
