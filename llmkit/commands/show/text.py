"""The reports of `llmkit show` as text for people: a line that names the artefact, facts, tables, curves."""

from llmkit.commands.facts import Facts, facts_lines, plural, quoted, title_line, visible
from llmkit.commands.shared import align
from llmkit.commands.show.model_text import model_text
from llmkit.commands.show.run_text import run_text
from llmkit.commands.show.shards_text import shards_text
from llmkit.commands.values import format_bytes, format_size
from llmkit.errors import some_of
from llmkit.workflows.show.adapter import AdapterReport
from llmkit.workflows.show.dedup_index import DedupIndexReport
from llmkit.workflows.show.imatrix import ImatrixReport
from llmkit.workflows.show.model import ModelReport
from llmkit.workflows.show.records import Lengths, RecordsReport
from llmkit.workflows.show.retrieve_index import RetrieveIndexReport
from llmkit.workflows.show.run import RunReport
from llmkit.workflows.show.saved_report import SavedReport
from llmkit.workflows.show.shards import ShardsReport
from llmkit.workflows.show.show import Report
from llmkit.workflows.show.tokenizer import TokenizerReport


def report_text(report: Report, *, width: int, color: bool) -> str:
    """Any report of `show`, at most `width` columns wide where its words allow it."""
    match report:
        case ModelReport():
            return model_text(report, width=width)
        case RunReport():
            return run_text(report, width=width, color=color)
        case AdapterReport():
            return adapter_text(report, width=width)
        case ImatrixReport():
            return imatrix_text(report, width=width)
        case TokenizerReport():
            return tokenizer_text(report, width=width)
        case RecordsReport():
            return records_text(report, width=width)
        case ShardsReport():
            return shards_text(report, width=width)
        case DedupIndexReport():
            return dedup_index_text(report, width=width)
        case RetrieveIndexReport():
            return retrieve_index_text(report, width=width)
        case SavedReport():
            return saved_report_text(report, width=width)


def tokenizer_text(report: TokenizerReport, *, width: int) -> str:
    """A tokenizer folder or file."""
    special = [
        f"{one.piece} {one.id:,}" + (f" ({', '.join(one.roles)})" if one.roles else "")
        for one in report.special_tokens
    ]
    shown = special[:12] + ([f"and {len(special) - 12:,} more"] if len(special) > 12 else [])
    merges = "" if report.merges is None else f", {report.merges:,} merges"
    template = report.chat_template
    facts: Facts = [
        (
            "vocabulary",
            f"{report.vocab_size:,} ids{merges}" + (f", {report.bytes_as}" if report.bytes_as else ""),
        ),
        ("cut into words", report.pre_tokenizer + (f": {report.pattern}" if report.pattern else "")),
        ("normaliser", ", ".join(report.normalizer) or "none"),
        ("special", shown or "none"),
        ("adds to text", " ".join(report.added_to_text) or "nothing"),
        ("template", "none" if template is None else f"{len(template):,} characters"),
        ("more templates", ", ".join(report.named_templates) or None),
        (
            "longest",
            [quoted(one.text if one.text is not None else one.piece) for one in report.longest],
        ),
        ("sha256", report.sha256[:12]),
        ("made by", report.made_by),
    ]
    return "\n".join([title_line(report.path, "tokenizer", report.model), *facts_lines(facts, width)])


def adapter_text(report: AdapterReport, *, width: int) -> str:
    """An adapter's folder or file."""
    targets, size = report.target_modules, format_bytes(report.size_bytes)
    facts: Facts = [
        ("base model", report.base_model or "not named"),
        ("for", report.architecture and f"{report.architecture} models"),
        ("rank", _rank(report)),
        ("targets", ", ".join(targets) if isinstance(targets, list) else targets),
        ("also saved", ", ".join(report.modules_to_save or []) or None),
        ("weights", f"{report.parameters:,} parameters, {', '.join(report.dtypes)}, {size}"),
        *report.refused_by.items(),
    ]
    rows = [
        (visible(one.name), str(one.modules), ", ".join(map(str, one.ranks)) or "-", f"{one.parameters:,}")
        for one in report.modules
    ]
    table = align([("module", "count", "rank", "parameters"), *rows], right=(1, 2, 3), indent=2)
    title = title_line(report.path, "adapter", f"{report.peft_type.lower()}, {report.variant}")
    return "\n".join([title, *facts_lines(facts, width), "", table])


def imatrix_text(report: ImatrixReport, *, width: int) -> str:
    """An importance matrix."""
    text = None
    if report.chunks is not None and report.chunk_size is not None:
        text = f"{plural(report.chunks, 'chunk')} of {report.chunk_size:,} tokens"
    unseen = f", {report.unseen:,} of them unseen" if report.unseen else ""
    facts: Facts = [
        ("datasets", ", ".join(report.datasets) or None),
        ("text", text),
        ("matrices", f"{report.matrices:,}{unseen}"),
        ("columns", f"{report.columns:,}"),
        ("size", format_size(report.size_bytes)),
        ("use", f"llmkit quantize MODEL OUT --imatrix {report.path}"),
    ]
    return "\n".join([title_line(report.path, "importance matrix"), *facts_lines(facts, width)])


def dedup_index_text(report: DedupIndexReport, *, width: int) -> str:
    """An index of `llmkit dedup`."""
    settings = ", ".join(f"{name} {value}" for name, value in report.made_with.items())
    facts: Facts = [
        ("documents", f"{report.documents:,}"),
        ("from", some_of(report.sources) or None),
        ("alike by", f"{report.by}: {settings}"),
        ("algorithm", report.algorithm),
        ("size", format_size(report.size_bytes)),
        ("use", f"llmkit dedup FILE --against {report.path}"),
    ]
    return "\n".join([title_line(report.path, "dedup index"), *facts_lines(facts, width)])


def retrieve_index_text(report: RetrieveIndexReport, *, width: int) -> str:
    """An index of `llmkit retrieve`."""
    cut = ", ".join(f"{name} {value}" for name, value in report.settings.items() if value is not None)
    ids = ", ".join(map(visible, report.first_ids))
    if report.documents > len(report.first_ids):
        ids += f" and {report.documents - len(report.first_ids):,} more"
    vectors = None if report.embedding is None else f"of {report.embedding_width} by {report.embedding}"
    facts: Facts = [
        ("documents", f"{report.documents:,}"),
        ("ids", ids or None),
        ("passages", f"{report.passages:,}"),
        ("cut by", cut),
        ("vectors", vectors or "none"),
        ("size", format_size(report.size_bytes)),
        ("use", f"llmkit retrieve query {report.path} TEXT"),
    ]
    return "\n".join([title_line(report.path, "retrieval index"), *facts_lines(facts, width)])


def saved_report_text(report: SavedReport, *, width: int) -> str:
    """What a command said with --json; of a list of objects how many they are (--json has them)."""
    facts: Facts = [(visible(name), _value(value)) for name, value in report.values.items()]
    return "\n".join([title_line(report.path, "report", report.of), *facts_lines(facts, width)])


def records_text(report: RecordsReport, *, width: int) -> str:
    """A data file."""
    fields = [
        name if count == report.records else f"{name} ({count:,})" for name, count in report.fields.items()
    ]
    facts: Facts = [
        ("records", f"{report.records:,}"),
        ("lines", None if report.lines is None else f"{report.lines:,}"),
        ("text", _lengths(report.text_bytes, "byte")),
        ("tokens", _lengths(report.tokens, "token")),
        ("highest id", None if report.highest_token_id is None else f"{report.highest_token_id:,}"),
        ("masked", plural(report.masked_records, "record") if report.masked_records else None),
        ("messages", _lengths(report.messages, "message")),
        ("roles", ", ".join(f"{role} {count:,}" for role, count in report.roles.items()) or None),
        ("fields", fields),
        ("made by", report.made_by),
    ]
    return "\n".join([title_line(report.path, report.kind), *facts_lines(facts, width)])


def _value(value: object) -> str | list[str] | None:
    """A value of JSON for people; None of what is null, and of an object without keys."""
    match value:
        case None | dict():
            return None
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.6g}"
        case [dict(), *_]:
            return f"{len(value):,} in a list"
        case list():
            return [str(_value(one)) for one in value]
    return str(value)


def _rank(report: AdapterReport) -> str | None:
    if report.rank is None or report.alpha is None or report.scaling is None:
        return None if report.rank is None else str(report.rank)
    return f"{report.rank}, alpha {report.alpha:g}, scaling {report.scaling:g}"


def _lengths(lengths: Lengths | None, unit: str) -> str | None:
    if lengths is None:
        return None
    total = plural(lengths.total, unit)
    if lengths.total == lengths.longest:
        return total
    if lengths.shortest == lengths.longest:
        return f"{total}; {lengths.longest:,} a record"
    return f"{total}; {lengths.shortest:,} to {lengths.longest:,} a record, mean {lengths.mean:,.1f}"
