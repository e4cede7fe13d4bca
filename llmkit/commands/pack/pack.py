"""llmkit pack: token documents or text in, rows of one length out, in zstd shards."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from llmkit.commands.base import Session
from llmkit.commands.pack.text import describe_plan, describe_report
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    Rejects,
    Seed,
    SkipBad,
    inputs_or_stdin,
    print_report,
)
from llmkit.commands.values import MOST_AT_ONCE, parse_count
from llmkit.tokens.config import Boundary, LongDocuments, PackConfig, Strategy

Default = PackConfig
USAGE = "llmkit tokenize -t TOKENIZER --jsonl FILE | llmkit pack -t TOKENIZER -o shards"


def pack(
    ctx: typer.Context,
    out: Annotated[Path, Option("--out", "-o", metavar="FOLDER", help="Folder to make.")],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Token documents, text, chats, folders; - is stdin."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        Option(
            "--tokenizer", "-t", metavar="PATH", help="Encodes text; names special ids; its digest is kept."
        ),
    ] = None,
    seq_len: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Targets of a row, which stores N + 1 ids.")
    ] = Default.seq_len,
    strategy: Annotated[
        Strategy, Option(help="best-fit and greedy cut no document that fits a row; concat fills every row.")
    ] = Default.strategy,
    long: Annotated[
        LongDocuments, Option(help="What becomes of a document longer than a row.")
    ] = Default.long,
    boundary: Annotated[
        Boundary,
        Option(help="Tokens put around a document, where missing; auto: those that -t has."),
    ] = Default.boundary,
    fim: Annotated[
        float,
        Option(
            "--fim",
            "--fim-rate",
            metavar="SHARE",
            help="Documents told with a gap, to learn to fill in the middle: of those that fit a row. Text "
            "is cut between characters, ids between tokens.",
        ),
    ] = Default.fim,
    fim_spm: Annotated[
        float | None,
        Option(
            "--fim-spm",
            "--fim-spm-rate",
            metavar="SHARE",
            help="Of these, how many tell first what follows the gap.",
            show_default="half, where a tokenizer's models know both forms",
        ),
    ] = Default.fim_spm,
    shuffle: Annotated[
        bool, Option(help="Rows in random order, or in that of their documents.")
    ] = Default.shuffle,
    seed: Seed = Default.seed,
    shard_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Begin another shard after so many ids.")
    ] = Default.shard_tokens,
    field: Annotated[str, Option(metavar="KEY", help="Key of the text in jsonl.")] = "text",
    threads: Annotated[
        int | None,
        Option(
            "--threads",
            "--workers",
            min=1,
            max=MOST_AT_ONCE,
            metavar="N",
            help="Cores to use.",
            show_default="all",
        ),
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Keep what is done when stopped; the same line goes on.")
    ] = False,
    force: Force = False,
    skip_bad: SkipBad = False,
    rejects: Rejects = None,
    make_rule: Annotated[
        Path | None,
        Option("--make-rule", "-MF", metavar="FILE", help="A rule for make: what the shards are made of."),
    ] = None,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Pack documents into rows of one length, for training.

    \b
    Reads   {"tokens": [int, ...], "mask"?: [[start, length], ...]} a line, or
            with -t text files, {"text"}, {"messages"} (jsonl, .zst, .gz,
            parquet, Arrow)
            ids of nanoGPT and llm.c (.bin; -t tells what ends a document),
            of Megatron (.bin with .idx)
    Writes  FOLDER/shard-00000.tok.zst   rows: zstd -dc | od -An -tu2
            FOLDER/index.json            what holds for all of them
            FOLDER/documents.jsonl.zst   number, id, source of each document

    \b
    Examples:
      llmkit tokenize -t tok --jsonl docs.jsonl | llmkit pack -t tok -o rows
      llmkit pack -t tok docs.jsonl.zst corpus.txt --seq-len 256 -o rows2
      llmkit pack -t tok docs.jsonl -o rows3 --dry-run
    """
    from llmkit.workflows.pack.pack import PackSources, pack_files
    from llmkit.workflows.pack.plan import plan_pack

    session: Session = ctx.obj
    config = PackConfig(
        seq_len=seq_len,
        strategy=strategy,
        long=long,
        boundary=boundary,
        shuffle=shuffle,
        seed=seed,
        shard_tokens=shard_tokens,
        fim=fim,
        fim_spm=fim_spm,
    )
    sources = PackSources(
        inputs=inputs_or_stdin(inputs, USAGE),
        out=out,
        tokenizer=tokenizer,
        field=field,
        force=force,
        skip_bad=skip_bad,
        rejects=rejects,
        resume=resume,
        workers=threads,
        make_rule=make_rule,
    )
    if dry_run:
        print_report(plan_pack(sources, config), as_json, describe_plan)
        return
    with session.console.progress("packing", log_every=log_every) as progress:
        report = pack_files(sources, config, invocation=session.invocation, progress=progress)
    print_report(report, as_json, describe_report, quiet=session.console.quiet)
