"""The report of `llmkit diff` as text: each part that was compared, what differs in it, and a verdict."""

from itertools import pairwise

from llmkit.commands.diff.keys_text import keys_table, side_text
from llmkit.commands.diff.tensors_text import tensors_lines
from llmkit.commands.diff.tokenizer_text import tokenizer_lines
from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.workflows.diff.config import ConfigDiff
from llmkit.workflows.diff.diff import DiffReport
from llmkit.workflows.diff.shards import ShardsDiff


def diff_text(report: DiffReport, *, width: int) -> str:
    """Both artefacts, then a section for each part, then `same` or what differs."""
    sections = [
        [title_line(f"{name}  {one.path}", one.kind) for name, one in (("A", report.a), ("B", report.b))],
        [f"{one.file}: only in {one.only.upper()}" for one in report.missing],
        [] if report.tensors is None else tensors_lines(report.tensors, width),
        [] if report.config is None else config_lines(report.config, width),
        [] if report.tokenizer is None else tokenizer_lines(report.tokenizer, width),
        [] if report.shards is None else shards_lines(report.shards, width),
        ["made by (no difference by itself)", *keys_table(report.provenance)] if report.provenance else [],
        ["same" if report.same else f"differ: {verdict(report)}"],
    ]
    lines: list[str] = []
    for before, section in pairwise([[], *filter(None, sections)]):  # short ones stand together
        lines += [""] * (bool(before) and max(len(before), len(section)) > 1) + section
    return "\n".join(lines)


def verdict(report: DiffReport) -> str:
    """`3 tensors, 1 config key, the vocabulary`: what differs, in a few words; empty where nothing does."""
    words = [f"no {one.file} in {'B' if one.only == 'a' else 'A'}" for one in report.missing]
    if (tensors := report.tensors) is not None and not tensors.same:
        words += [f"{plural(len(tensors.changed), 'tensor')}"] * bool(tensors.changed)
        words += [f"{plural(len(tensors.only_a), 'tensor')} only in A"] * bool(tensors.only_a)
        words += [f"{plural(len(tensors.only_b), 'tensor')} only in B"] * bool(tensors.only_b)
        words += ["the names' prefix"] * (tensors.prefix is not None)
    if (config := report.config) is not None and not config.same:
        words += [f"{one.file} only in {one.only.upper()}" for one in config.missing]
        words += [plural(len(config.keys), "config key")] * bool(config.keys)
    words += ["the tokenizer"] * (report.tokenizer is not None and not report.tokenizer.same)
    words += ["the shards"] * (report.shards is not None and not report.shards.same)
    return ", ".join(words)


def config_lines(report: ConfigDiff, width: int) -> list[str]:
    """Files of one side only, then the keys."""
    found = [f"{one.file} only in {one.only.upper()}" for one in report.missing]
    found += [f"{plural(len(report.keys), 'key')} of {' and '.join(report.files)}"] if report.keys else []
    lines = [f"config: {'same' if report.same else ', '.join(found)}", *keys_table(report.keys)]
    notes: Facts = []
    if report.moved is not None:
        says = [f"A says {', '.join(report.moved.a)}"] if report.moved.a else []
        says += [f"B says {', '.join(report.moved.b)}"] if report.moved.b else []
        notes.append(("two forms", f"{'; '.join(says)}: transformers 4 and 5 write the same so"))
    notes += [
        (one.key, f"{side_text(one, 'a')} and {side_text(one, 'b')} (does not count)")
        for one in report.remarks
    ]
    return [*lines, *facts_lines(notes, width)]


def shards_lines(report: ShardsDiff, width: int) -> list[str]:
    """Index, rows and documents."""
    facts: Facts = []
    if not report.rows_compared:
        facts.append(("rows", "not compared: of different lengths, or none"))
    elif not report.rows_differing:
        facts.append(("rows", f"the {plural(report.rows_compared, 'row')} that both have are the same"))
    if (row := report.first_row) is not None:
        ids = f"id {row.token_a:,} in A, {row.token_b:,} in B"
        facts.append(("rows", f"{report.rows_differing:,} of {report.rows_compared:,} differ"))
        facts.append(("first", f"row {row.row:,} at {row.position:,} ({ids}): {', '.join(row.differs_in)}"))
    if (document := report.first_document) is not None:
        facts += [
            ("document", f"line {document.number + 1:,} of the documents is the first to differ"),
            ("in A", document.a or "no such line"),
            ("in B", document.b or "no such line"),
        ]
    if report.files_a != report.files_b:
        facts.append(("files", f"{report.files_a:,} in A, {report.files_b:,} in B (does not count)"))
    title = "same" if report.same else "differ"
    return [f"shards: {title}", *keys_table(report.index), *facts_lines(facts, width)]
