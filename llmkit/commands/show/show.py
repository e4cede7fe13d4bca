"""llmkit show: what any artefact is, as text for people or as JSON."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from llmkit.commands.shared import Force, JsonReport, inputs_or_stdin, print_all, print_lines, print_report
from llmkit.commands.terminal import text_width
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.workflows.show.runs import RunsReport

USAGE = "llmkit show run"


def show(
    ctx: typer.Context,
    paths: Annotated[
        list[Path] | None, Argument(metavar="PATH...", help="Artefacts of any kind; - reads JSON lines.")
    ] = None,
    tensors: Annotated[bool, Option("--tensors", help="List every tensor; with --json one a line.")] = False,
    metadata: Annotated[
        bool, Option("--metadata", help="A GGUF or safetensors file's keys and values; --json: whole.")
    ] = False,
    vocab: Annotated[bool, Option("--vocab", help="Dump a vocabulary: id, piece, text and bytes.")] = False,
    template: Annotated[
        bool, Option("--template", help="The chat template as it is; --json: all templates, by name.")
    ] = False,
    row: Annotated[
        int | None, Option("--row", metavar="N", help="One row of a shard folder, from 0; -1: the last.")
    ] = None,
    decode: Annotated[bool, Option("--decode", help="With --row: as text too, by the -t tokenizer.")] = False,
    tokenizer: Annotated[
        Path | None,
        Option("--tokenizer", "-t", help="For --decode, whose shards must be of it; --embeddings."),
    ] = None,
    embeddings: Annotated[
        bool, Option("--embeddings", help="A model's embedding table: lengths, neighbours, unused tokens.")
    ] = False,
    token: Annotated[
        str | None, Option("--token", metavar="TEXT", help="With --embeddings: what is near it; or id:N.")
    ] = None,
    top: Annotated[
        int | None, Option(metavar="N", min=1, help="With --embeddings: how many; default 10.")
    ] = None,
    trace: Annotated[
        str | None,
        Option("--trace", metavar="ID", help="A document's way through documents, rejects and shards."),
    ] = None,
    verify: Annotated[bool, Option("--verify", help="Read all of a shard folder and check it.")] = False,
    html: Annotated[
        Path | None, Option("--html", metavar="FILE", help="Of training runs: one page with their curves.")
    ] = None,
    force: Force = False,
    as_json: JsonReport = False,
) -> None:
    """Say what an artefact is: model, tokenizer, shards, run, adapter, data file.

    What a path holds is told by its content. A run is shown with its curves; several runs are compared.

    \b
    Examples:
      llmkit show run
      llmkit show run --html run.html
      llmkit show run --tensors
      llmkit show run/model.safetensors --metadata
      llmkit show run --embeddings --token def
      llmkit show tok --json
      llmkit show shards --row 0 --decode -t tok
      llmkit show docs.jsonl shards --trace assert
    """
    given = inputs_or_stdin(paths, USAGE)
    _check_flags(
        given,
        tensors=tensors,
        metadata=metadata,
        vocab=vocab,
        template=template,
        row=row is not None,
        trace=trace is not None,
        verify=verify,
        embeddings=embeddings,
        html=html is not None,
    )
    if force and html is None:
        raise UsageError("--force replaces the page of --html", hint="add --html FILE, or leave it out")
    if (token is not None or top is not None) and not embeddings:
        raise UsageError(
            "--token and --top need --embeddings", hint="llmkit show run --embeddings --token the"
        )
    if (decode or (tokenizer and not embeddings)) and row is None:
        raise UsageError("--decode and -t need --row", hint="llmkit show shards --row 0 --decode -t tok")
    if decode and tokenizer is None:
        raise UsageError("--decode needs a tokenizer", hint="llmkit show shards --row 0 --decode -t tok")
    from llmkit.commands.show.shards_text import row_text, verified_text
    from llmkit.workflows.show.rows import show_row
    from llmkit.workflows.show.runs import are_runs
    from llmkit.workflows.show.shards import verify_shards
    from llmkit.workflows.show.show import pieces_of

    path, color = given[0], ctx.obj.console.uses_color(sys.stdout)
    if tensors:
        _show_tensors(path, as_json)
    elif metadata:
        _show_metadata(path, as_json)
    elif vocab:
        print_lines(pieces_of(path))
    elif template:
        _show_template(path, as_json)
    elif row is not None:
        print_report(show_row(path, row, tokenizer, decode=decode), as_json, row_text)
    elif trace is not None:
        _show_trace(given, trace, as_json)
    elif verify:
        print_report(verify_shards(path), as_json, verified_text)
    elif embeddings:
        _show_embeddings(path, token, tokenizer, 10 if top is None else top, as_json)
    elif html is not None and len(given) == 1:
        _write_page(given, html, force=force)
        _show_artefacts(given, as_json, color=color)
    elif html is not None or (len(given) > 1 and are_runs(given)):
        _show_runs(given, html, force=force, as_json=as_json, color=color)
    else:
        _show_artefacts(given, as_json, color=color)


def _show_tensors(path: Path, as_json: bool) -> None:
    from llmkit.commands.show.model_text import tensors_text
    from llmkit.workflows.show.show import tensors_of

    print_all(tensors_of(path), as_json, tensors_text)


def _show_metadata(path: Path, as_json: bool) -> None:
    from llmkit.commands.show.model_text import metadata_text
    from llmkit.workflows.show.metadata import metadata_of

    print_all(metadata_of(path), as_json, lambda entries: metadata_text(entries, width=text_width()))


def _show_template(path: Path, as_json: bool) -> None:
    from llmkit.workflows.show.show import show_templates

    print_report(show_templates(path), as_json, lambda one: next(iter(one.templates.values())))


def _show_trace(paths: list[Path], document: str, as_json: bool) -> None:
    from llmkit.commands.show.trace_text import trace_text
    from llmkit.workflows.show.trace import trace

    print_all(trace(paths, document), as_json, trace_text)


def _show_embeddings(path: Path, token: str | None, tokenizer: Path | None, top: int, as_json: bool) -> None:
    from llmkit.commands.show.embeddings_text import embeddings_text
    from llmkit.workflows.show.embeddings import show_embeddings  # torch, which the rest of show never loads

    table = show_embeddings(path, token, tokenizer, top=top)
    print_report(table, as_json, lambda one: embeddings_text(one, width=text_width()))


def _show_artefacts(paths: list[Path], as_json: bool, *, color: bool) -> None:
    """Each by itself, with an empty line between."""
    from llmkit.commands.show.text import report_text
    from llmkit.workflows.show.show import show_artefact

    for number, path in enumerate(paths):
        if number and not as_json:
            print()
        report = show_artefact(path)
        print_report(report, as_json, lambda one: report_text(one, width=text_width(), color=color))


def _show_runs(paths: list[Path], html: Path | None, *, force: bool, as_json: bool, color: bool) -> None:
    """Training runs beside each other, and as a page where that was asked for."""
    from llmkit.commands.show.runs_text import runs_text
    from llmkit.workflows.show.runs import compare_runs, read_runs

    report = compare_runs(read_runs(paths)) if html is None else _write_page(paths, html, force=force)
    print_report(report, as_json, lambda one: runs_text(one, width=text_width(), color=color))


def _write_page(paths: list[Path], html: Path, *, force: bool) -> "RunsReport":
    """The page of training runs, or of one; what it shows."""
    from llmkit.commands.show.runs_text import run_names
    from llmkit.workflows.show.runs import compare_runs, read_runs
    from llmkit.workflows.show.runs_page import write_runs

    report = compare_runs(read_runs(paths))
    write_runs(html, report, run_names([one.path for one in report.runs]), force=force)
    return report


def _check_flags(given: list[Path], **modes: bool) -> None:
    """At most one of the flags that show a part, and then one path; a trace goes through several."""
    chosen = [f"--{name}" for name, on in modes.items() if on]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other", hint="give one of them")
    if chosen and chosen not in (["--trace"], ["--html"]) and len(given) > 1:
        raise UsageError(f"{chosen[0]} takes one path (found {len(given)})", hint="give one path")
