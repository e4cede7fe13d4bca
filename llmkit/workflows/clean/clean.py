"""llmkit clean: documents through the steps that were asked for; what is kept, and why the rest is not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.atomic import write_atomic
from llmkit.formats.digest import digest_file
from llmkit.formats.documents import list_files
from llmkit.formats.json_text import json_text
from llmkit.formats.provenance import Invocation
from llmkit.formats.streams import STDIO, input_bytes, is_stream
from llmkit.formats.text_file import read_text_file
from llmkit.progress import SILENT, Progress
from llmkit.text.rule import Check
from llmkit.workflows.clean.folder import clean_folder, units_of
from llmkit.workflows.clean.gates import check_dropped, drop_watch
from llmkit.workflows.clean.input import kind_of, read_batches
from llmkit.workflows.clean.options import CleanFiles, CleanSettings
from llmkit.workflows.clean.report import CleanReport, build_report
from llmkit.workflows.clean.report_html import render_html
from llmkit.workflows.clean.steps import build_cleaner
from llmkit.workflows.clean.stream import clean_stream
from llmkit.workflows.clean.tally import Tally
from llmkit.workflows.corpus_files import check_places
from llmkit.workflows.executors import executor_of
from llmkit.workflows.units import Piece, select_shard

_SUFFIXES = (".json", ".html")


class CleanPlan(msgspec.Struct, frozen=True):
    """What a run would do; `input_bytes` is None when stdin is among the inputs."""

    inputs: list[str]
    input_bytes: int | None
    out: str | None
    units: int | None
    """Parts of the folder that this run would make; None for a stream."""
    workers: int
    executor: str
    rules: list[dict[str, Any]]
    schema: str = "llmkit.clean-plan/1"


class Explanation(msgspec.Struct, frozen=True):
    """What became of one document, and every value that was looked at."""

    id: str
    file: str
    line: int
    kept: bool
    verdicts: list[dict[str, Any]]
    edits: dict[str, int]
    checks: list[dict[str, Any]]
    schema: str = "llmkit.clean-explanation/1"


@dataclass(frozen=True)
class _Job:
    """A run, resolved."""

    settings: CleanSettings
    inputs: list[Path]
    checks: tuple[Check, ...]
    page_checks: tuple[Check, ...]
    """With those of pages, where a stream turns out to have some."""


def clean_documents(
    files: CleanFiles, settings: CleanSettings, *, invocation: Invocation, progress: Progress = SILENT
) -> CleanReport:
    """Clean all inputs.

    Raises:
        GateFailed: more was rejected than is allowed (the output is complete), or one rule drops nearly all
            (there is no output).
        UsageError, DataError, MissingError: see `clean_stream`, `clean_folder` and `build_steps`.
    """
    job = _resolve(files, settings)
    watch = drop_watch(files, job.settings, job.page_checks)
    is_whole = True
    if files.is_folder:
        tally, is_whole = clean_folder(
            files, job.settings, job.inputs, watch, invocation=invocation, progress=progress
        )
    else:
        tally = clean_stream(files, job.settings, job.inputs, watch, progress=progress)
    report = build_report(
        tally, job.page_checks if tally.pages else job.checks, settings.mode, unfinished=not is_whole
    )
    if files.report is not None and is_whole:
        write_report(files.report, report, tally)
    check_dropped(report, files.fail_if_dropped_over)
    return report


def plan_clean(files: CleanFiles, settings: CleanSettings) -> CleanPlan:
    """What `clean_documents` would do, after the same checks."""
    job = _resolve(files, settings)
    check_places(files, files.reads(job.inputs, job.settings))
    units = None
    if files.is_folder:
        units = select_shard(units_of(job.settings, job.inputs, numbered=False), files.shard)
    return CleanPlan(
        inputs=[str(path) for path in job.inputs],
        input_bytes=input_bytes(job.inputs),
        out=None if files.out is None else str(files.out),
        units=None if units is None else len(units),
        workers=files.workers,
        executor=files.executor,
        rules=[
            {"rule": one.name, "meaning": one.meaning, "low": one.low, "high": one.high} for one in job.checks
        ],
    )


def explain_documents(files: CleanFiles, settings: CleanSettings) -> Iterator[Explanation]:
    """What each rule says of each document: every rule is asked, also behind one that drops it.

    Raises:
        UsageError: an output is named, of which nothing is written; else as `clean_documents`.
    """
    for flag, path in files.places.items():
        if path is not None and path != STDIO:
            raise UsageError(
                f"{flag} {path}: --explain writes explanations, to stdout, and nothing else",
                hint=f"leave {flag} or --explain out",
            )
    job = _resolve(files, msgspec.structs.replace(settings, report=True))
    pieces = [Piece(str(path)) for path in job.inputs]
    with build_cleaner(job.settings) as cleaner:
        for batch in read_batches(pieces, field=settings.field, flowing=True):
            for entry in batch:
                item, verdicts = cleaner.explain(entry)
                found: dict[str, float | str | None] = {**item.scores}
                found |= {verdict.rule: verdict.value for verdict in verdicts}
                reasons = {verdict.rule for verdict in verdicts}
                checks = [
                    {
                        "rule": one.name,
                        "meaning": one.meaning,
                        "value": found.get(one.name),
                        "low": one.low,
                        "high": one.high,
                        "keeps": one.name not in reasons,
                    }
                    for one in (job.checks if entry.page is None else job.page_checks)
                ]
                yield Explanation(
                    id=item.identity,
                    file=entry.file,
                    line=entry.line,
                    kept=not verdicts,
                    verdicts=[msgspec.structs.asdict(verdict) for verdict in verdicts],
                    edits=item.edits,
                    checks=checks,
                )


def write_report(path: Path, report: CleanReport, tally: Tally) -> None:
    """Write the report as JSON or as a page, as its name says; whole or not at all."""
    page = render_html(report, tally.values) if path.suffix == ".html" else json_text(report)
    write_atomic(path, page)


def _resolve(files: CleanFiles, settings: CleanSettings) -> _Job:
    """Inputs as files, settings with what files hold, and the checks; what can fail does so now."""
    inputs = list_files(files.inputs)
    if files.report is not None:
        _check_report(files.report)
    for path in filter(is_stream, files.against):
        raise UsageError(f"--against {path}: is read more than once", hint="put it into a file and name that")
    if files.shard is not None:
        select_shard([], files.shard)
        if not files.is_folder:
            raise UsageError("--shard divides the parts of a folder", hint="-o NAME, without .jsonl")
    if files.executor == "ray" and not files.is_folder:
        raise UsageError("--executor ray makes the parts of a folder", hint="-o NAME, without .jsonl")
    if files.is_folder and files.rejects == STDIO:
        raise UsageError(
            "--rejects -: rejects of a folder are joined at its end", hint="--rejects rejects.jsonl.zst"
        )
    if settings.lang_model is not None and settings.lang is None:
        raise UsageError("--lang-model: no language is looked for", hint="--lang en --lang-model FILE")
    executor_of(files.executor, files.workers)
    settings = msgspec.structs.replace(
        settings,
        pages=any(kind_of(path) == "pages" for path in inputs),
        pipes=any(map(is_stream, inputs)),
        rules=None if files.rules is None else read_text_file(files.rules, hint="rule files are TOML"),
        rules_name="" if files.rules is None else files.rules.name,
        against=tuple((str(path), digest_file(path)) for path in list_files(files.against)),
        rejects=files.rejects is not None,
        report=settings.report or files.report is not None,
    )
    with build_cleaner(settings) as cleaner:
        checks, page_checks = (cleaner.checks(pages=one) for one in (settings.pages, True))
        return _Job(settings, inputs, checks, page_checks)


def _check_report(path: Path) -> None:
    if path.suffix not in _SUFFIXES:
        raise UsageError(
            f"--report {path}: neither .json nor .html (found {path.suffix or 'no suffix'})",
            hint=f"--report {path.with_suffix('.html').name}",
        )
