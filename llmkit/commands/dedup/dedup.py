"""llmkit dedup: documents in, those that are no duplicates of others out."""

import sys

import typer

from llmkit.commands.base import Session
from llmkit.commands.corpus_flags import Executor, PartsOut, ReportFile, Shard, TextField, Unbuffered, Workers
from llmkit.commands.dedup import flags
from llmkit.commands.dedup.text import describe_plan, describe_report
from llmkit.commands.facts import plural
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    SkipBad,
    inputs_or_stdin,
    print_report,
)
from llmkit.errors import UsageError
from llmkit.workflows.dedup.options import DedupConfig, DedupSources

USAGE = "llmkit dedup docs.jsonl -o unique.jsonl, or … | llmkit dedup"


@with_flag_groups
def dedup(
    ctx: typer.Context,
    *,
    inputs: flags.Inputs = None,
    rule: flags.Rule,
    against: flags.Against = None,
    index_out: flags.IndexOut = None,
    mode: flags.Mode = DedupConfig.mode,
    out: PartsOut = None,
    rejects: flags.Rejects = None,
    clusters: flags.Clusters = None,
    report: ReportFile = None,
    field: TextField = DedupConfig.field,
    memory: flags.Memory = DedupSources.memory_bytes,
    workers: Workers = DedupSources.workers,
    executor: Executor = DedupSources.executor,
    shard: Shard = None,
    fail_over: flags.FailOver = None,
    force: Force = False,
    skip_bad: SkipBad = False,
    unbuffered: Unbuffered = False,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Remove duplicates: documents, paragraphs, lines or spans of words.

    \b
    Reads   {"id"?, "text", ...}   jsonl (.zst, .gz), text, parquet, Arrow
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
    config = rule.config(mode=mode, field=field)
    sources = DedupSources(
        inputs=inputs_or_stdin(inputs, USAGE), out=out, rejects=rejects, clusters=clusters, report=report,
        against=against, save_index=index_out, force=force, skip_bad=skip_bad, unbuffered=unbuffered,
        memory_bytes=memory, workers=workers, executor=executor, shard=shard,
    )  # fmt: skip
    if dry_run:
        print_report(plan_dedup(sources, config), as_json, describe_plan)
        return
    is_piped = sources.is_piped
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
        print_report(found, as_json, describe_report, quiet=session.console.quiet)
    elif sys.stderr.isatty():
        session.console.note(describe_report(found))
    elif found.bad_lines:
        session.console.note(f"{plural(found.bad_lines, 'bad line')} passed over")
