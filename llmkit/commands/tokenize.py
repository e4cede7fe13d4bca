"""llmkit tokenize: count, ids, pieces, offsets, decode, truncate, chunk, check, compare."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    Rejects,
    SkipBad,
    inputs_or_stdin,
    print_report,
)
from llmkit.commands.values import format_bytes, parse_count
from llmkit.errors import UsageError
from llmkit.formats.streams import is_terminal
from llmkit.progress import SILENT
from llmkit.tokens.config import Keep, RawType, RowFormat, TokenizeConfig, TokenizeMode

if TYPE_CHECKING:
    from llmkit.workflows.tokenize.tokenize import TokenizePlan

Default = TokenizeConfig
USAGE = "llmkit tokenize -t TOKENIZER FILE…, or … | llmkit tokenize -t TOKENIZER"


def tokenize(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None, Argument(metavar="FILE", help="Text, documents, chats, folders; - is stdin.")
    ] = None,
    tokenizer: Annotated[
        Path, Option("--tokenizer", "-t", metavar="PATH", help="Folder or file of the tokenizer.")
    ] = ...,  # type: ignore[assignment]
    text: Annotated[str | None, Option(metavar="TEXT", help="This text instead of files.")] = None,
    files_from: Annotated[
        Path | None, Option(metavar="FILE", help="Read the names of files from here, one a line.")
    ] = None,
    files0_from: Annotated[
        Path | None, Option(metavar="FILE", help="The same, each name ended by a zero byte.")
    ] = None,
    count: Annotated[bool, Option("--count", help="Tokens, bytes, name: the default.")] = False,
    ids: Annotated[bool, Option("--ids", help="Ids, one document a line.")] = False,
    pieces: Annotated[bool, Option("--pieces", help="Pieces as the vocabulary stores them.")] = False,
    offsets: Annotated[
        bool, Option("--offsets", help="A line a token: id, byte range, character range, text.")
    ] = False,
    view: Annotated[bool, Option("--view", help="The text with its tokens told apart.")] = False,
    jsonl: Annotated[bool, Option("--jsonl", help="Token jsonl, other fields passed through.")] = False,
    raw: Annotated[
        RawType | None, Option(help="Little-endian ids of 2 or 4 bytes; with --decode, as input.")
    ] = None,
    decode: Annotated[bool, Option("--decode", help="Ids or token jsonl back to text.")] = False,
    truncate: Annotated[
        int | None, Option(parser=parse_count, metavar="N", help="At most N tokens of each document.")
    ] = None,
    keep: Annotated[Keep, Option(help="What --truncate keeps.")] = Default.keep,
    chunk: Annotated[
        int | None, Option(parser=parse_count, metavar="N", help="Documents of at most N tokens.")
    ] = None,
    overlap: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Tokens a chunk repeats from the last.")
    ] = Default.overlap,
    check: Annotated[
        bool, Option("--check", help="Exit 1 where decoding does not give the text back.")
    ] = False,
    compare: Annotated[
        list[Path] | None, Option(metavar="PATH", help="Beside this tokenizer too; repeatable.")
    ] = None,
    by: Annotated[
        str, Option(metavar="KEY", help="Group --compare by file, or a key: metadata.lang.")
    ] = Default.by,
    max_tokens: Annotated[
        int | None, Option("--max", parser=parse_count, metavar="N", help="Exit 1 if a document is over N.")
    ] = Default.max_tokens,
    price: Annotated[list[float] | None, Option(metavar="X", help="Cost at X per million tokens.")] = None,
    per_record: Annotated[
        bool, Option("--per-record", help="Count jsonl records, not files.")
    ] = Default.per_record,
    row_format: Annotated[
        RowFormat | None, Option("--format", help="Of the result; tsv has no header, no total.")
    ] = None,
    as_json: JsonReport = False,
    bos: Annotated[bool, Option("--bos", help="Begin each document with the bos token.")] = Default.bos,
    eos: Annotated[bool, Option("--eos", help="End each document with the eos token.")] = Default.eos,
    allow_special: Annotated[
        bool, Option("--allow-special", help="Text like <|endoftext|> becomes the token.")
    ] = Default.allow_special,
    generation_prompt: Annotated[
        bool, Option("--generation-prompt", help="Chats end with the assistant's opening.")
    ] = Default.generation_prompt,
    field: Annotated[str, Option(metavar="KEY", help="Key of the text in jsonl.")] = Default.field,
    keep_text: Annotated[
        bool, Option("--keep-text", help="Leave the text in --jsonl records.")
    ] = Default.keep_text,
    out: Annotated[
        Path | None, Option("--out", "-o", metavar="FILE", help="Write here, not to stdout.")
    ] = None,
    force: Force = False,
    skip_bad: SkipBad = False,
    rejects: Rejects = None,
    unbuffered: Annotated[
        bool, Option("--unbuffered", help="Write each result at once.")
    ] = Default.unbuffered,
    threads: Annotated[
        int | None, Option(min=1, metavar="N", help="Cores to use.", show_default="all")
    ] = Default.threads,
    dry_run: DryRun = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Count tokens, and turn text into tokens and back.

    \b
    Reads   text files, folders, documents {"text"}, chats {"messages"} (jsonl,
            .zst, .gz), stdin. A chat is rendered by the tokenizer's template.
    Writes  counts: tokens, bytes, (cost,) (tokens over --max,) name

    Text that looks like a special token is ordinary text, except in a rendered
    chat or with --allow-special.

    \b
    Examples:
      llmkit tokenize -t tok corpus.txt valid.txt
      llmkit tokenize -t tok --jsonl docs.jsonl | llmkit pack -o rows
      llmkit tokenize -t tok --max 4k --format tsv chat.jsonl
      llmkit tokenize -t tok --ids corpus.txt | llmkit tokenize -t tok --decode
      llmkit tokenize -t tok --chunk 256 --overlap 32 docs.jsonl.zst
    """
    given: dict[TokenizeMode, object] = {
        "count": count, "ids": ids, "pieces": pieces, "offsets": offsets, "view": view, "jsonl": jsonl,
        "raw": None if decode else raw, "decode": decode, "truncate": truncate, "chunk": chunk,
        "check": check, "compare": compare,
    }  # fmt: skip
    config = TokenizeConfig(
        mode=_mode(given),
        row_format="json" if as_json and not dry_run else row_format,
        field=field,
        generation_prompt=generation_prompt,
        bos=bos,
        eos=eos,
        allow_special=allow_special,
        limit=truncate or chunk or 0,
        keep=keep,
        overlap=overlap,
        max_tokens=max_tokens,
        prices=tuple(price or ()),
        raw_type=raw or Default.raw_type,
        keep_text=keep_text,
        by=by,
        per_record=per_record,
        unbuffered=unbuffered,
        threads=threads,
    )
    if text is None and files_from is None and files0_from is None:
        inputs = inputs_or_stdin(inputs, USAGE)
    elif text is not None and (inputs or files_from or files0_from or decode):
        raise UsageError("--text is one input, and files are another", hint="pipe the text in, and name -")

    from llmkit.workflows.tokenize.tokenize import TokenizeSources, plan_tokenize, tokenize_files

    sources = TokenizeSources(
        tokenizer=tokenizer,
        inputs=inputs or [],
        files_from=files_from,
        files0_from=files0_from,
        text=text,
        compare=compare or [],
        raw_input=decode and raw is not None,
        out=out,
        force=force,
        skip_bad=skip_bad,
        rejects=rejects,
    )
    session: Session = ctx.obj
    if dry_run:
        print_report(plan_tokenize(sources, config), as_json, _plan_text)
        return
    color = config.mode == "view" and out is None and session.console.uses_color(sys.stdout)
    with session.console.progress("tokenizing", log_every=log_every) as progress:
        report = tokenize_files(
            sources, config, color=color, progress=SILENT if is_terminal(out) else progress
        )
    if report.bad_lines:
        session.console.note(f"{report.bad_lines:,} bad lines passed over")
    session.console.detail(
        f"{report.documents:,} documents, {report.tokens:,} tokens, {report.bytes:,} bytes"
    )


def _mode(given: dict[TokenizeMode, object]) -> TokenizeMode:
    """The one mode that was asked for; counting when none was."""
    modes = [
        mode for mode, value in given.items() if value is not None and value is not False and value != []
    ]
    if len(modes) > 1:
        raise UsageError(
            f"--{modes[0]} and --{modes[1]} are two different results", hint="ask for one at a time"
        )
    return modes[0] if modes else "count"


def _plan_text(plan: "TokenizePlan") -> str:
    size = "unknown (stdin)" if plan.input_bytes is None else format_bytes(plan.input_bytes)
    return (
        f"mode       {plan.mode}\n"
        f"tokenizer  {plan.tokenizer} ({plan.tokenizer_sha256[:12]})\n"
        f"inputs     {len(plan.inputs)} ({size})\n"
        f"output     {plan.out or 'stdout'}"
    )
