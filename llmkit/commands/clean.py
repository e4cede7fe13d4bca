"""llmkit clean: filter, repair and tag documents, each drop explained."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from llmkit.commands.base import Session
from llmkit.commands.clean_text import describe_explanation, describe_plan, describe_report
from llmkit.commands.corpus_flags import (
    Executor,
    LicenseAllow,
    LicenseDeny,
    PartsOut,
    Shard,
    TextField,
    Unbuffered,
    Workers,
)
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
from llmkit.commands.values import parse_seconds
from llmkit.errors import UsageError
from llmkit.formats.streams import STDIO, is_terminal
from llmkit.progress import SILENT
from llmkit.workflows.clean.options import CleanFiles, CleanSettings, Extract, Mode, Pii

Default = CleanSettings()
USAGE = "llmkit clean --preset fineweb FILE…, or … | llmkit clean --preset fineweb"


def clean(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Documents, text, HTML, WARC, parquet, folders; - is stdin."),
    ] = None,
    preset: Annotated[
        list[str] | None, Option(metavar="NAME", help="A set of rules; repeatable, in the order given.")
    ] = None,
    rules: Annotated[
        Path | None, Option(metavar="FILE.toml", help="Rules of your own, behind the presets.")
    ] = None,
    extract: Annotated[
        Extract | None, Option(help="Text out of HTML, of jsonl with html too; none keeps the markup.")
    ] = None,
    time_per_document: Annotated[
        float, Option(parser=parse_seconds, metavar="TIME", help="CPU time that extraction may take.")
    ] = Default.seconds_per_document,
    fix_encoding: Annotated[
        bool, Option("--fix-encoding", help="Repair mojibake, take out control characters, NFC.")
    ] = Default.fix_encoding,
    lang: Annotated[
        str | None, Option(metavar="CODES", help="Languages that stay, with a least score: en:0.65,de.")
    ] = None,
    lang_model: Annotated[
        Path | None, Option(metavar="FILE", help="A fastText model, in place of py3langid.")
    ] = None,
    boilerplate: Annotated[
        bool, Option("--boilerplate", help="Take out lines of menus, cookie notes and the like.")
    ] = Default.boilerplate,
    pii: Annotated[
        Pii | None, Option(help="Personal data: put <EMAIL> in its place, tag it, or drop the document.")
    ] = None,
    license_allow: LicenseAllow = None,
    license_deny: LicenseDeny = None,
    require_license: Annotated[
        bool, Option("--require-license", help="Drop what has no licence.")
    ] = Default.require_license,
    detect_license: Annotated[
        bool, Option("--detect-license", help="Look for a licence in the page or text.")
    ] = Default.detect_license,
    against: Annotated[
        list[Path] | None, Option(metavar="FILE", help="Drop what shares 13 words with this test set.")
    ] = None,
    mode: Annotated[
        Mode, Option(help="tag keeps all, and writes reasons to attributes.clean.")
    ] = Default.mode,
    field: TextField = Default.field,
    out: PartsOut = None,
    rejects: Annotated[
        Path | None, Option(metavar="FILE", help="Keep what is dropped or malformed, with the reason.")
    ] = None,
    report: Annotated[
        Path | None, Option(metavar="FILE", help="Values and samples of every rule: .json or .html.")
    ] = None,
    max_drop: Annotated[
        float, Option(min=0, max=1, metavar="SHARE", help="Stop when a rule drops more; 1 is no limit.")
    ] = CleanFiles.max_drop,
    fail_if_dropped_over: Annotated[
        float | None, Option(min=0, max=1, metavar="SHARE", help="Exit 1 at the end if more was rejected.")
    ] = None,
    explain: Annotated[
        bool, Option("--explain", help="Every rule, value and threshold of each document; writes no other.")
    ] = False,
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
            parquet, folders, stdin
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
        rules=rules,
        against=against or (),
        workers=workers,
        shard=shard,
        executor=executor,
        force=force,
        unbuffered=unbuffered,
        max_drop=max_drop,
        fail_if_dropped_over=fail_if_dropped_over,
    )
    settings = CleanSettings(
        presets=tuple(preset or ()),
        extract=extract,
        seconds_per_document=time_per_document,
        lang=lang,
        lang_model=None if lang_model is None else str(lang_model),
        fix_encoding=fix_encoding,
        pii=pii,
        license_allow=tuple(license_allow or ()),
        license_deny=tuple(license_deny or ()),
        require_license=require_license,
        detect_license=detect_license,
        boilerplate=boilerplate,
        mode=mode,
        field=field,
        keep_bad=skip_bad or rejects is not None,
    )
    is_piped = out is None or out == STDIO
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
            session.console.note(f"{done.malformed_documents:,} bad lines passed over")
    else:
        print_report(done, as_json, describe_report)
