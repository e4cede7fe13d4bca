"""llmkit tokenize: count, ids, pieces, offsets, decode, truncate, chunk, check, compare."""

import sys
from typing import TYPE_CHECKING

import typer

from llmkit.commands.base import Session
from llmkit.commands.corpus_flags import Unbuffered
from llmkit.commands.facts import plural
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.shared import DryRun, JsonReport, LogEvery, print_report
from llmkit.commands.tokenize import flags
from llmkit.commands.values import format_bytes
from llmkit.formats.streams import is_terminal
from llmkit.progress import SILENT
from llmkit.tokens.config import TokenizeConfig

if TYPE_CHECKING:
    from llmkit.workflows.tokenize.tokenize import TokenizePlan

Default = TokenizeConfig


@with_flag_groups
def tokenize(
    ctx: typer.Context,
    *,
    tokenizer: flags.TokenizerPath,
    texts: flags.Texts,
    result: flags.Result,
    max_tokens: flags.MaxTokens = Default.max_tokens,
    price: flags.Price = None,
    per_record: flags.PerRecord = Default.per_record,
    row_format: flags.Format = None,
    as_json: JsonReport = False,
    tokens: flags.Tokens,
    records: flags.Records,
    unbuffered: Unbuffered = Default.unbuffered,
    threads: flags.Threads = Default.threads,
    dry_run: DryRun = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Count tokens, and turn text into tokens and back.

    \b
    Reads   text files, folders, documents {"text"}, chats {"messages"} (jsonl,
            .zst, .gz, parquet, Arrow), stdin; a file whose name does not
            tell (.json, no suffix) is jsonl if its first two lines are
            objects. A chat is rendered by the tokenizer's template.
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
    config = TokenizeConfig(
        mode=result.mode,
        row_format="json" if as_json and not dry_run else row_format,
        limit=result.truncate or result.chunk or 0,
        keep=result.keep,
        overlap=result.overlap,
        raw_type=result.raw or Default.raw_type,
        by=result.by,
        max_tokens=max_tokens,
        prices=tuple(price or ()),
        per_record=per_record,
        unbuffered=unbuffered,
        threads=threads,
        **vars(tokens),
    )
    inputs = texts.files(decode=result.decode)

    from llmkit.workflows.tokenize.tokenize import TokenizeSources, plan_tokenize, tokenize_files

    sources = TokenizeSources(
        tokenizer=tokenizer,
        inputs=inputs,
        files_from=texts.files_from,
        files0_from=texts.files0_from,
        text=texts.text,
        compare=result.compare or [],
        raw_input=result.decode and result.raw is not None,
        **vars(records),
    )
    session: Session = ctx.obj
    if dry_run:
        print_report(plan_tokenize(sources, config), as_json, _plan_text)
        return
    color = config.mode == "view" and records.out is None and session.console.uses_color(sys.stdout)
    with session.console.progress("tokenizing", log_every=log_every) as progress:
        report = tokenize_files(
            sources, config, color=color, progress=SILENT if is_terminal(records.out) else progress
        )
    if report.bad_lines:
        session.console.note(f"{plural(report.bad_lines, 'bad line')} passed over")
    session.console.detail(
        f"{plural(report.documents, 'document')}, {plural(report.tokens, 'token')}, {report.bytes:,} bytes"
    )


def _plan_text(plan: "TokenizePlan") -> str:
    size = "unknown (stdin)" if plan.input_bytes is None else format_bytes(plan.input_bytes)
    return (
        f"mode       {plan.mode}\n"
        f"tokenizer  {plan.tokenizer} ({plan.tokenizer_sha256[:12]})\n"
        f"inputs     {len(plan.inputs)} ({size})\n"
        f"output     {plan.out or 'stdout'}"
    )
