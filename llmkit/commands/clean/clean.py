"""llmkit clean: filter, repair and tag documents, each drop explained."""

import typer

from llmkit.commands.base import Session
from llmkit.commands.clean import flags
from llmkit.commands.clean.text import describe_explanation, describe_plan, describe_report
from llmkit.commands.corpus_flags import Executor, PartsOut, Shard, TextField, Unbuffered, Workers
from llmkit.commands.facts import plural
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    SkipBad,
    inputs_or_stdin,
    print_lines,
    print_report,
)
from llmkit.errors import UsageError
from llmkit.formats.streams import is_terminal
from llmkit.progress import SILENT
from llmkit.workflows.clean.options import CleanFiles, CleanSettings

USAGE = "llmkit clean --preset fineweb FILE…, or … | llmkit clean --preset fineweb"


@with_flag_groups
def clean(
    ctx: typer.Context,
    *,
    inputs: flags.Inputs = None,
    rules: flags.Rules,
    field: TextField = flags.Default.field,
    out: PartsOut = None,
    rejects: flags.Rejects = None,
    report: flags.ReportFile = None,
    limits: flags.Limits,
    explain: flags.Explain = False,
    workers: Workers = CleanFiles.workers,
    shard: Shard = None,
    executor: Executor = CleanFiles.executor,
    force: Force = False,
    skip_bad: SkipBad = False,
    unbuffered: Unbuffered = False,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Filter, repair and tag documents; each drop explained.

    \b
    Reads   {"text"} or {"html"} a line (jsonl, .zst, .gz), text, HTML, WARC,
            parquet, Arrow, folders, stdin; a file whose name does not tell
            (.json, no suffix) is jsonl if its first two lines are objects
    Writes  documents as they came but for repairs, to stdout, a file, or
            FOLDER/part-00000.jsonl.zst: stopped, the same line goes on

    \b
    Presets: c4, c4-tfds, gopher, fineweb, refinedweb, ocr, markup, code.

    \b
    Examples:
      llmkit clean --preset gopher docs.jsonl.zst -o good.jsonl.zst
      cat docs.jsonl | llmkit clean --pii mask --rejects bad.jsonl.zst | wc -l
      llmkit clean --preset fineweb docs.jsonl -o out --report report.html
      llmkit clean --preset c4 --explain docs.jsonl | head -n 40
      llmkit clean --lang en --fix-encoding corpus.txt docs.jsonl -o pages
    """
    files = CleanFiles(
        inputs=inputs_or_stdin(inputs, USAGE),
        out=out,
        rejects=rejects,
        report=report,
        rules=rules.rules,
        against=rules.against or (),
        workers=workers,
        shard=shard,
        executor=executor,
        force=force,
        unbuffered=unbuffered,
        **vars(limits),
    )
    settings = CleanSettings(**rules.settings(), field=field, keep_bad=skip_bad or rejects is not None)
    is_piped = files.is_piped
    if as_json and is_piped and not (dry_run or explain):
        raise UsageError(
            "--json: documents and the report cannot both go to stdout", hint="-o FILE, or --report FILE.json"
        )

    from llmkit.workflows.clean.clean import clean_documents, explain_documents, plan_clean

    session: Session = ctx.obj
    if dry_run:
        print_report(plan_clean(files, settings), as_json, describe_plan)
        return
    if explain:
        explanations = explain_documents(files, settings)
        if as_json:
            print_lines(explanations)
        else:
            for number, one in enumerate(explanations):
                print(("\n" if number else "") + describe_explanation(one))
        return
    with session.console.progress("cleaning", log_every=log_every) as progress:
        done = clean_documents(
            files,
            settings,
            invocation=session.invocation,
            progress=SILENT if is_terminal(out) else progress,
        )
    if is_piped:
        session.console.detail(describe_report(done))
        if done.malformed_documents:
            session.console.note(f"{plural(done.malformed_documents, 'bad line')} passed over")
    else:
        print_report(done, as_json, describe_report, quiet=session.console.quiet)
