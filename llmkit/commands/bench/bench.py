"""llmkit bench: speed beside a peer, measured in turns."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, BadParameter, Option

from llmkit.commands.base import Group, Session, build_group
from llmkit.commands.bench.flags import Reporting, Rounds, finish
from llmkit.commands.bench.model import decode, load, prefill, train
from llmkit.commands.bench.serve import serve
from llmkit.commands.bench.text import print_work
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.values import parse_size
from llmkit.formats.streams import STDIO
from llmkit.probe.config import BenchTokenizeConfig

Default = BenchTokenizeConfig


def group() -> Group:
    """The subcommands of `llmkit bench`."""
    benches: dict[str, Callable[..., None]] = {
        "prefill": prefill,
        "decode": decode,
        "train": train,
        "load": load,
        "tokenize": tokenize,
        "serve": serve,
    }
    return build_group("bench", "Measure speed, alone or beside a peer, in turns.", benches)


@with_flag_groups
def tokenize(
    ctx: typer.Context,
    *,
    inputs: Annotated[list[Path], Argument(metavar="FILE", help="Text, documents, folders to encode.")],
    tokenizer: Annotated[
        Path, Option("--tokenizer", "-t", metavar="PATH", help="Folder or file of the tokenizer.")
    ],
    rounds: Rounds = Default.rounds,
    max_bytes: Annotated[
        int, Option(parser=parse_size, metavar="N", help="Text in a round, from the start.")
    ] = Default.max_bytes,
    reporting: Reporting,
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
    from llmkit.workflows.bench.tokenize import bench_tokenize, plan_tokenize

    if STDIO in inputs:
        raise BadParameter("the text is read several times: name a file, not -")
    config = BenchTokenizeConfig(
        rounds=rounds,
        max_bytes=max_bytes,
        fail_slower=reporting.fail_slower,
        require_quiet=reporting.require_quiet,
    )
    baseline = reporting.baseline
    if reporting.dry_run:
        print_work(plan_tokenize(inputs, tokenizer, config, baseline=baseline), reporting.bench_format)
        return
    session: Session = ctx.obj
    with session.console.progress("measuring", log_every=reporting.log_every) as progress:
        report = bench_tokenize(inputs, tokenizer, config, baseline=baseline, progress=progress)
    finish(session, report, reporting)
