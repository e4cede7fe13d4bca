"""llmkit train-tokenizer: text in, a folder with a tokenizer out."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
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
from llmkit.commands.train_tokenizer.text import describe_plan, describe_report
from llmkit.commands.values import parse_count, parse_size
from llmkit.tokens.config import Normalization, PatternName, TokenizerType, TrainTokenizerConfig

Default = TrainTokenizerConfig
USAGE = "llmkit train-tokenizer FILE… -o tok, or … | llmkit train-tokenizer -o tok"


def train_tokenizer(
    ctx: typer.Context,
    out: Annotated[Path, Option("--out", "-o", metavar="FOLDER", help="Folder to make.")],
    inputs: Annotated[
        list[Path] | None, Argument(metavar="FILE", help="Text, documents, folders; - is stdin.")
    ] = None,
    vocab_size: Annotated[
        int,
        Option(
            "--vocab-size", "--vocab", parser=parse_count, metavar="N", help="Ids in all, special tokens too."
        ),
    ] = Default.vocab_size,
    kind: Annotated[TokenizerType, Option("--type", help="Of tokenizer.")] = Default.type,
    pattern: Annotated[
        PatternName, Option(help="How text is cut into words; llama3 cuts as gpt4 does.")
    ] = Default.pattern,
    normalize: Annotated[
        Normalization, Option(help="Unicode form that text is brought into; none keeps every byte.")
    ] = Default.normalize,
    bos: Annotated[
        str, Option(metavar="TOKEN", help="Begins a document, or none for no such token.")
    ] = Default.bos,
    eos: Annotated[
        str | None,
        Option(
            metavar="TOKEN", help="Ends a document and a turn of a chat, or none.", show_default="<|im_end|>"
        ),
    ] = Default.eos,
    pad: Annotated[str, Option(metavar="TOKEN", help="Fills up batches, or none.")] = Default.pad,
    chat: Annotated[bool, Option(help="Tokens and template of ChatML.")] = Default.chat,
    special: Annotated[
        list[str] | None, Option(metavar="TOKEN", help="One more special token; repeatable.")
    ] = None,
    character_coverage: Annotated[
        float, Option(metavar="X", help="Unigram: share of characters that are pieces; others are bytes.")
    ] = Default.character_coverage,
    max_bytes: Annotated[
        int, Option(parser=parse_size, metavar="N", help="Of more text, train on a sample of N bytes.")
    ] = Default.max_bytes,
    seed: Seed = Default.seed,
    valid: Annotated[
        list[Path] | None, Option(metavar="FILE", help="Held-out text to measure on; repeatable.")
    ] = None,
    min_bytes_per_token: Annotated[
        float | None,
        Option(metavar="X", help="Exit 1 where text, held out if given, is compressed less."),
    ] = None,
    field: Annotated[str, Option(metavar="KEY", help="Key of the text in jsonl.")] = "text",
    force: Force = False,
    skip_bad: SkipBad = False,
    rejects: Rejects = None,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Train a tokenizer on text: byte-level BPE or unigram.

    \b
    Reads   text files, folders, documents {"text", "source"?} (jsonl, .zst,
            .gz, parquet, Arrow), stdin
    Writes  FOLDER/tokenizer.json           opened by transformers and vLLM
            FOLDER/tokenizer_config.json    bos, eos, pad, chat template
            FOLDER/chat_template.jinja      ChatML

    Every text has tokens, and comes back from them as it was. The same text in
    another order gives the same bytes.

    \b
    Examples:
      llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 1024 -o tok1
      cat docs.jsonl.zst | llmkit train-tokenizer --vocab 512 -o tok2
      llmkit train-tokenizer docs.jsonl --type unigram --vocab 1k -o tok3
      llmkit train-tokenizer corpus.txt --valid valid.txt --vocab 512 -o tok4
      llmkit train-tokenizer docs.jsonl --max-bytes 50k --vocab 512 -o tok5
      llmkit train-tokenizer corpus.txt -o tok6 --dry-run
    """
    config = TrainTokenizerConfig(
        type=kind,
        vocab_size=vocab_size,
        pattern=pattern,
        normalize=normalize,
        bos=bos,
        eos=eos,
        pad=pad,
        chat=chat,
        special=tuple(special or ()),
        character_coverage=character_coverage,
        max_bytes=max_bytes,
        seed=seed,
    )
    inputs = inputs_or_stdin(inputs, USAGE)

    from llmkit.workflows.train_tokenizer.plan import TrainTokenizerSources, plan_train_tokenizer
    from llmkit.workflows.train_tokenizer.report import check_gate
    from llmkit.workflows.train_tokenizer.train_tokenizer import train_tokenizer_files

    session: Session = ctx.obj
    sources = TrainTokenizerSources(
        inputs=inputs,
        out=out,
        valid=valid or [],
        field=field,
        force=force,
        skip_bad=skip_bad,
        rejects=rejects,
    )
    if dry_run:
        print_report(plan_train_tokenizer(sources, config), as_json, describe_plan)
        return
    with session.console.progress("training", log_every=log_every) as progress:
        report = train_tokenizer_files(sources, config, invocation=session.invocation, progress=progress)
    if report.vocab_size < report.wanted_vocab_size:
        session.console.note(
            f"{report.vocab_size:,} of {report.wanted_vocab_size:,} ids: the text holds no more pieces that "
            "repeat"
        )
    print_report(report, as_json, describe_report, quiet=session.console.quiet)
    check_gate(report, min_bytes_per_token)
