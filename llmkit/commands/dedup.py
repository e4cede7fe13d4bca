"""llmkit dedup: documents in, those that are no duplicates of others out."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.corpus_flags import Executor, PartsOut, ReportFile, Shard, TextField, Unbuffered, Workers
from llmkit.commands.dedup_text import describe_plan, describe_report
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    SkipBad,
    inputs_or_stdin,
    print_report,
)
from llmkit.commands.values import parse_count
from llmkit.errors import UsageError
from llmkit.formats.streams import STDIO
from llmkit.workflows.dedup.options import (
    DedupConfig,
    DedupKind,
    DedupMode,
    DedupSources,
    WordOrCharacter,
    solve_config,
)

Default = DedupConfig
USAGE = "llmkit dedup docs.jsonl -o unique.jsonl, or … | llmkit dedup"


def dedup(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None, Argument(metavar="FILE", help="Documents, text, folders; - is stdin.")
    ] = None,
    by: Annotated[DedupKind, Option(help="What makes a duplicate: see below.")] = Default.by,
    key: Annotated[
        str, Option(metavar="KEY", help="By exact: has to be equal, as metadata.url.")
    ] = Default.key,
    similarity: Annotated[
        float | None,
        Option(
            metavar="X",
            help="By near: shared shingles over all, from which documents are duplicates; solves --bands and "
            "--rows unless given.",
            show_default=f"{Default.similarity:g}",
        ),
    ] = None,
    bands: Annotated[
        int | None, Option(min=1, metavar="N", help="Of a signature.", show_default=str(Default.bands))
    ] = None,
    rows: Annotated[
        int | None, Option(min=1, metavar="N", help="Hashes in a band.", show_default=str(Default.rows))
    ] = None,
    hashes: Annotated[
        int, Option(min=1, metavar="N", help="Most hashes that --similarity may use.")
    ] = Default.bands * Default.rows,
    ngram: Annotated[
        int, Option(min=1, metavar="N", help="Words or characters in a shingle.")
    ] = Default.ngram,
    unit: Annotated[WordOrCharacter, Option(help="What shingles are made of.")] = Default.unit,
    verify: Annotated[
        bool, Option("--verify/--no-verify", help="Compare the shingles of candidates, or trust the bands.")
    ] = Default.verify,
    transitive: Annotated[
        bool, Option("--transitive", help="Also drop what is like a dropped document only.")
    ] = Default.transitive,
    prefer: Annotated[
        str,
        Option(
            metavar="RULE",
            help="What is kept: source:wiki>web, date:max, KEY:min, length:max, first; with commas between.",
            show_default="length:max by near, else first",
        ),
    ] = Default.prefer,
    min_words: Annotated[
        int, Option(min=1, metavar="N", help="A paragraph or line of fewer words stays.")
    ] = Default.min_words,
    span: Annotated[
        int, Option(min=1, metavar="N", help="By substring: words in a row (characters with --unit char).")
    ] = Default.span,
    drop_above: Annotated[
        float | None,
        Option(
            metavar="X", help="By substring: cut nothing, drop documents with more repeated than this share."
        ),
    ] = Default.drop_above,
    against: Annotated[
        Path | None, Option(metavar="INDEX", help="Also drop what is like a document of this index.")
    ] = None,
    index_out: Annotated[
        Path | None, Option("--save-index", metavar="FOLDER", help="Keep an index of what is kept.")
    ] = None,
    mode: Annotated[
        DedupMode, Option(help="Drop duplicates, or note them in attributes.dedup.")
    ] = Default.mode,
    out: PartsOut = None,
    rejects: Annotated[
        Path | None,
        Option(
            "--rejects", metavar="FILE", help="Keep duplicates and malformed lines here, with the reason."
        ),
    ] = None,
    clusters: Annotated[
        Path | None, Option(metavar="FILE", help="A line a cluster: keeper, members, similarity.")
    ] = None,
    report: ReportFile = None,
    field: TextField = Default.field,
    memory: Annotated[
        int, Option(parser=parse_count, metavar="SIZE", help="Sort in parts of this.", show_default="4GiB")
    ] = DedupSources.memory_bytes,
    workers: Workers = DedupSources.workers,
    executor: Executor = DedupSources.executor,
    shard: Shard = None,
    fail_over: Annotated[
        float | None,
        Option("--fail-if-dropped-over", metavar="X", help="Exit 1 if more than this share are duplicates."),
    ] = None,
    force: Force = False,
    skip_bad: SkipBad = False,
    unbuffered: Unbuffered = False,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Remove duplicates: documents, paragraphs, lines or spans of words.

    \b
    Reads   {"id"?, "text", ...}   jsonl (.zst, .gz), text files, parquet
    Writes  the same documents, one of each cluster

    \b
    --by near       documents with most 5-word shingles in common (MinHash,
                    candidates compared): the usual one
         exact      equal in text, or in --key; goes out as it comes in
         paragraph  paragraphs that came before are cut out
         line       the same with lines
         substring  50 words in a row (--span) or more that came before are
                    cut out, or their document goes (--drop-above)

    What is kept does not depend on the order of the files.

    \b
    Examples:
      llmkit dedup docs.jsonl.zst -o unique.jsonl.zst --rejects dups.jsonl
      cat docs.jsonl | llmkit dedup --by exact > once.jsonl
      llmkit dedup docs.jsonl --similarity 0.8 --clusters clusters.jsonl -o u
      llmkit dedup docs.jsonl --dry-run
    """
    from llmkit.workflows.dedup.dedup import dedup_files
    from llmkit.workflows.dedup.plan import plan_dedup

    session: Session = ctx.obj
    config = solve_config(
        DedupConfig(
            by=by, key=key, ngram=ngram, unit=unit, verify=verify, transitive=transitive, prefer=prefer,
            min_words=min_words, span=span, drop_above=drop_above, mode=mode, field=field,
        ),
        similarity=similarity, bands=bands, rows=rows, hashes=hashes,
    )  # fmt: skip
    sources = DedupSources(
        inputs=inputs_or_stdin(inputs, USAGE), out=out, rejects=rejects, clusters=clusters, report=report,
        against=against, save_index=index_out, force=force, skip_bad=skip_bad, unbuffered=unbuffered,
        memory_bytes=memory, workers=workers, executor=executor, shard=shard,
    )  # fmt: skip
    if dry_run:
        print_report(plan_dedup(sources, config), as_json, describe_plan)
        return
    is_piped = out is None or out == STDIO
    if as_json and is_piped:
        raise UsageError(
            "--json: documents are on stdout already", hint="--report FILE, or -o FILE for the documents"
        )
    with session.console.progress("dedup", log_every=log_every) as progress:
        found = dedup_files(
            sources, config, invocation=session.invocation, progress=progress, fail_over=fail_over
        )
    for warning in found.warnings:
        session.console.note(f"llmkit: warning: {warning}")
    if not is_piped:
        print_report(found, as_json, describe_report)
    elif sys.stderr.isatty():
        session.console.note(describe_report(found))
