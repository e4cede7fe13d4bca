"""llmkit bench: speed beside a peer, measured in turns."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, BadParameter, Option

from llmkit.commands.base import Group, Session, build_group
from llmkit.commands.bench_text import BenchFormat, print_bench
from llmkit.commands.shared import LogEvery
from llmkit.commands.values import parse_count
from llmkit.formats.streams import STDIO
from llmkit.probe.config import BenchTokenizeConfig

Default = BenchTokenizeConfig


def group() -> Group:
    """The subcommands of `llmkit bench`."""
    return build_group("bench", "Measure speed beside a peer, in turns.", {"tokenize": tokenize})


def parse_share(text: str | float) -> float:
    """`10%` or `0.1`.

    Raises:
        BadParameter: not a share between 0 and 1.
    """
    try:
        value = float(text.removesuffix("%")) / 100 if isinstance(text, str) and "%" in text else float(text)
    except ValueError:
        raise BadParameter(f"{text!r} is not a share such as 10% or 0.1") from None
    if not 0 <= value < 1:
        raise BadParameter(f"{text!r} is not between 0 and 100%")
    return value


def tokenize(
    ctx: typer.Context,
    inputs: Annotated[list[Path], Argument(metavar="FILE", help="Text, documents, folders to encode.")],
    tokenizer: Annotated[
        Path, Option("--tokenizer", "-t", metavar="PATH", help="Folder or file of the tokenizer.")
    ],
    rounds: Annotated[int, Option(min=1, metavar="N", help="Times that each case runs.")] = Default.rounds,
    max_bytes: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Text in a round, from the start.")
    ] = Default.max_bytes,
    bench_format: Annotated[BenchFormat, Option("--format", help="Of the result.")] = "md",
    baseline: Annotated[
        Path | None, Option(metavar="FILE", help="Compare with this earlier --format json.")
    ] = None,
    fail_slower: Annotated[
        float, Option(parser=parse_share, metavar="SHARE", help="Exit 1 when slower than that by more.")
    ] = Default.fail_slower,
    require_quiet: Annotated[
        bool, Option("--require-quiet", help="Exit 5 when the machine is busy.")
    ] = Default.require_quiet,
    log_every: LogEvery = 10.0,
) -> None:
    """Time tokenizing beside a bare encode_batch of the tokenizers library.

    \b
    Peer    texts in memory, one call, nothing kept
    llmkit  jsonl.zst in, arrays or packed shards out
    The cases take turns; figures are medians. A noisy machine is said so.

    \b
    Examples:
      llmkit bench tokenize -t tok docs.jsonl.zst --rounds 2
      llmkit bench tokenize -t tok corpus.txt --rounds 2 --format json > b.json
    """
    from llmkit.workflows.bench_tokenize import bench_tokenize, check_baseline

    if STDIO in inputs:
        raise BadParameter("the text is read several times: name a file, not -")
    config = BenchTokenizeConfig(
        rounds=rounds, max_bytes=max_bytes, fail_slower=fail_slower, require_quiet=require_quiet
    )
    session: Session = ctx.obj
    with session.console.progress("measuring", log_every=log_every) as progress:
        report = bench_tokenize(inputs, tokenizer, config, baseline=baseline, progress=progress)
    print_bench(report, bench_format)
    if report.noisy:
        session.console.note(f"noisy: {report.noisy}; read the ratios, not the seconds")
    if baseline is not None:
        check_baseline(report, baseline, fail_slower)
