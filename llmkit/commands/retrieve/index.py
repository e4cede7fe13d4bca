"""llmkit retrieve index: documents in, one index file out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from llmkit.commands.facts import plural
from llmkit.commands.retrieve import flags
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    Rejects,
    SkipBad,
    align,
    inputs_or_stdin,
    print_report,
)
from llmkit.commands.values import format_bytes, format_need, format_seconds, parse_count
from llmkit.retrieve.config import IndexConfig

if TYPE_CHECKING:
    from llmkit.workflows.retrieve.index import IndexReport
    from llmkit.workflows.retrieve.index_plan import IndexPlan


def index(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        Argument(metavar="FILE", help="Documents (jsonl, parquet), text, folders; - is stdin."),
    ] = None,
    out: Annotated[Path, Option("--out", "-o", metavar="INDEX", help="The index: one SQLite file.")] = ...,  # type: ignore[assignment]
    tokenizer: Annotated[
        Path | None,
        Option("--tokenizer", "-t", metavar="PATH", help="Measures passages; else 4 letters a token."),
    ] = None,
    chunk: Annotated[
        int | None,
        Option(
            parser=parse_count,
            metavar="N",
            help="Most tokens of a passage.",
            show_default=str(IndexConfig.chunk),
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        Option(
            parser=parse_count,
            metavar="N",
            help="Tokens a passage repeats from the last.",
            show_default=f"an eighth of --chunk, {IndexConfig.overlap} at most",
        ),
    ] = None,
    field: Annotated[str, Option(metavar="KEY", help="Key of the text in jsonl.")] = IndexConfig.field,
    embed: Annotated[
        Path | None, Option(metavar="MODEL", help="Give passages vectors: the mean of its hidden states.")
    ] = None,
    embed_url: flags.EmbedUrl = None,
    embed_name: flags.EmbedName = None,
    embed_key: flags.EmbedKey = None,
    device: flags.Device = "auto",
    add: Annotated[
        bool, Option("--add", help="To an index that is there; what is new replaces what is old.")
    ] = False,
    delete: Annotated[
        list[str] | None, Option(metavar="ID", help="Take this document out first; repeatable.")
    ] = None,
    force: Force = False,
    skip_bad: SkipBad = False,
    rejects: Rejects = None,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Cut documents into passages, and index their words, and with --embed their meaning.

    A passage ends at a heading or a paragraph where one is near, and knows the
    headings above it. --add and --delete change an index as a whole or not at all;
    passages of equal texts keep their ids.

    Vectors are made of a model's last hidden states as its files say
    (1_Pooling/config.json, prompts of queries and passages), else they are the mean.
    In an index that has vectors, new passages get theirs from the same model; --add
    --embed gives vectors to an index that has none. A server of --embed-url is asked
    for a vector that is known, to see that its model is the same as before.

    \b
    Examples:
      llmkit retrieve index docs.jsonl -o out.index
      llmkit retrieve index docs.jsonl -t tok --chunk 128 --overlap 16 -o out.two
      llmkit retrieve index docs.jsonl --add --delete world -o index
      llmkit retrieve index docs.jsonl --embed run -o out.meaning
    """
    from llmkit.formats.json_text import printable
    from llmkit.workflows.retrieve.embedding import EmbedOptions
    from llmkit.workflows.retrieve.index import index_documents

    session = ctx.obj
    paths: list[Path] = []
    gone = tuple(printable(name) for name in delete or ())  # as a file's name became its id
    making = EmbedOptions(model=embed, device=device, url=embed_url, name=embed_name, key=embed_key)
    is_silent = sys.stdin is None or sys.stdin.isatty()
    if inputs or not (delete or (add and making.is_given and is_silent)):
        paths = inputs_or_stdin(inputs, "llmkit retrieve index docs.jsonl -o index")
    cut = {name: size for name, size in (("chunk", chunk), ("overlap", overlap)) if size is not None}
    repeated = min(IndexConfig.overlap, cut.get("chunk", IndexConfig.chunk) // 8)
    config = IndexConfig(field=field, **{"overlap": repeated} | cut)
    if dry_run:
        from llmkit.workflows.retrieve.index_plan import plan_index

        plan = plan_index(
            paths,
            out,
            config,
            given=cut,
            tokenizer=tokenizer,
            embed=making,
            add=add,
            delete=gone,
            rejects=rejects,
            force=force,
        )
        print_report(plan, as_json, _describe_plan)
        return
    with session.console.progress("indexing", log_every=log_every) as progress:
        report = index_documents(
            paths,
            out,
            config,
            given=cut,
            tokenizer=tokenizer,
            embed=making,
            add=add,
            delete=gone,
            skip_bad=skip_bad,
            rejects=rejects,
            force=force,
            progress=progress,
        )
    print_report(report, as_json, _describe, quiet=session.console.quiet)


def _describe(report: "IndexReport") -> str:
    changes = [f"{report.added:,} added"]
    others = {
        "embedded": report.embedded,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "deleted": report.deleted,
        "rejected": report.rejected,
    }
    changes += [f"{count:,} {name}" for name, count in others.items() if count]
    return (
        f"{', '.join(changes)}; {plural(report.documents, 'document')} in "
        f"{plural(report.passages, 'passage')}, {format_bytes(report.size_bytes)}"
    )


def _describe_plan(plan: "IndexPlan") -> str:
    size = "stdin" if plan.input_bytes is None else format_bytes(plan.input_bytes)
    rows: list[tuple[str, ...]] = [("inputs", f"{plural(len(plan.inputs), 'file')} ({size})")]
    rows.append(("passages", f"{plan.chunk:,} tokens, {plan.overlap:,} of them of the one before"))
    if plan.about_documents is not None:
        about = f"{plural(plan.about_documents, 'document')}, {plural(plan.about_passages or 0, 'passage')}"
        output = format_need(plan.about_output_bytes or 0, plan.disk_free_bytes, "free")
        rows += [("about", about), ("disk", output), ("time", format_seconds(plan.about_seconds or 0.0))]
    if plan.embedding is not None:
        size = "" if plan.about_vector_bytes is None else f", about {format_bytes(plan.about_vector_bytes)}"
        rows.append(("vectors", f"from {plan.embedding}{size}; their time is not counted"))
    rows.append(("changes" if plan.changes else "writes", plan.out))
    return align(rows)
