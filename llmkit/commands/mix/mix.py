"""llmkit mix: several sources into one, in given proportions."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from llmkit.commands.base import Session
from llmkit.commands.corpus_flags import (
    Executor,
    LicenseAllow,
    LicenseDeny,
    PartsOut,
    ReportFile,
    RequireLicense,
    Shard,
    TextField,
    Workers,
    licence_settings,
)
from llmkit.commands.facts import plural
from llmkit.commands.mix.text import describe_report
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    Seed,
    SkipBad,
    print_report,
)
from llmkit.commands.values import parse_count
from llmkit.errors import UsageError
from llmkit.text.mix_amounts import Exhaust
from llmkit.workflows.mix.options import Measure, MixFiles, MixSettings, parse_sources

Default = MixSettings(sources=())


def mix(
    ctx: typer.Context,
    source: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=PATH:WEIGHT[:EPOCHS]",
            help="A file, folder, 'pattern' or -, its weight, and how often it may be gone through (once); "
            "repeatable. No weights: by size.",
        ),
    ] = None,
    by: Annotated[
        Measure | None,
        Option(help="What is weighed.", show_default="tokens with -t, else bytes of text"),
    ] = None,
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="Counts the tokens.")
    ] = None,
    total: Annotated[
        int | None,
        Option(
            parser=parse_count,
            metavar="N",
            help="Size of the mixture, as 10G; else as far as the sources reach.",
        ),
    ] = None,
    temperature: Annotated[
        float, Option(metavar="T", help="Weights to the power of 1/T: above 1 small ones gain.")
    ] = Default.temperature,
    on_exhaust: Annotated[
        Exhaust, Option(help="When a source has no more: the end, without it, or once more.")
    ] = Default.on_exhaust,
    strict: Annotated[bool, Option("--strict", help="Exit 1 if a source ran dry.")] = False,
    license_allow: LicenseAllow = None,
    license_deny: LicenseDeny = None,
    require_license: RequireLicense = None,
    seed: Seed = Default.seed,
    field: TextField = Default.field,
    out: PartsOut = None,
    rejects: Annotated[
        Path | None,
        Option(
            "--rejects", metavar="FILE", help="Keep what a licence forbids or is malformed, with the reason."
        ),
    ] = None,
    report: ReportFile = None,
    workers: Workers = MixFiles.workers,
    executor: Executor = MixFiles.executor,
    shard: Shard = None,
    force: Force = False,
    skip_bad: SkipBad = False,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Mix sources in given proportions; the same bytes for the same seed.

    \b
    Reads   {"text"} or {"messages"} a line (jsonl, .zst, .gz), text files,
            parquet, Arrow, folders, stdin
    Writes  the documents, in an order in which every stretch has the mixture;
            "source" where there was none, and metadata.history

    \b
    --on-exhaust stop     the mixture ends, in its proportions
                 drop     the other sources give more
                 repeat   a source without EPOCHS starts again

    A report compares what was wanted with what was achieved, by source and by
    licence; --dry-run prints it and writes nothing.

    \b
    Examples:
      llmkit mix --source web=docs.jsonl:7 --source code=corpus.txt:3 -o mixed
      llmkit mix --source a=docs.jsonl:3 --source b='*.txt:1' -t tok > out.jsonl
      llmkit mix --source a=docs.jsonl --source b=valid.txt --temperature 3 -n
      cat docs.jsonl | llmkit mix --source a=-:1 --total 20k --seed 7 | wc -l
    """
    from llmkit.workflows.mix.mix import check_dry, mix_documents, plan_mix

    session: Session = ctx.obj
    settings = MixSettings(
        sources=parse_sources(source or ()),
        by=by or ("bytes" if tokenizer is None else "tokens"),
        total=total,
        temperature=temperature,
        on_exhaust=on_exhaust,
        seed=seed,
        **licence_settings(require_license, license_allow, license_deny),
        field=field,
        tokenizer=None if tokenizer is None else str(tokenizer),
        skips_bad=skip_bad or rejects is not None,
        rejects=rejects is not None,
    )
    files = MixFiles(
        out=out, rejects=rejects, report=report, force=force, workers=workers, executor=executor, shard=shard
    )
    is_piped = files.is_piped
    if as_json and is_piped and not dry_run:
        raise UsageError(
            "--json: documents are on stdout already", hint="--report FILE, or -o FILE for the documents"
        )
    with session.console.progress("mixing", log_every=log_every) as progress:
        if dry_run:
            done = plan_mix(files, settings, progress=progress)
        else:
            done = mix_documents(files, settings, invocation=session.invocation, progress=progress)
    for warning in done.warnings:
        session.console.note(f"llmkit: warning: {warning}")
    if dry_run:
        print_report(done, as_json, describe_report)
    elif not is_piped:
        print_report(done, as_json, describe_report, quiet=session.console.quiet)
    else:
        session.console.detail(describe_report(done))
        if bad_lines := sum(source.bad_lines for source in done.sources):
            session.console.note(f"{plural(bad_lines, 'bad line')} passed over")
    if strict:
        check_dry(done)
