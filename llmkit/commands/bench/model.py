"""llmkit bench prefill, decode, train and load: the speed of a model, alone or beside a peer."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.bench.flags import (
    Against,
    Depth,
    Dtypes,
    KernelsChoice,
    Model,
    Preset,
    Reporting,
    Rounds,
    Threads,
    TransformersAgainst,
    Weights,
    expand_dtypes,
    expand_sizes,
    expand_threads,
    expand_weights,
    finish,
    join,
    list_of,
)
from llmkit.commands.bench.text import print_plan
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.shared import Seed
from llmkit.probe.config import (
    BenchDecodeConfig,
    BenchLoadConfig,
    BenchModelConfig,
    BenchPrefillConfig,
    BenchTrainConfig,
)

Common = BenchModelConfig
SIZES = list_of(expand_sizes)
PROMPT, TOKENS = join(BenchPrefillConfig.prompt), join(BenchDecodeConfig.tokens)
BATCH_ROWS, SEQ_LEN = join(BenchTrainConfig.batch_rows), join(BenchTrainConfig.seq_len)
DEPTH, THREADS, DTYPE = join(BenchPrefillConfig.depth), join(Common.threads), join(Common.dtype)
BATCH, WEIGHTS = join(BenchDecodeConfig.batch), join(BenchDecodeConfig.weights)


@with_flag_groups
def prefill(
    ctx: typer.Context,
    *,
    model: Model = None,
    preset: Preset = None,
    prompt: Annotated[str, Option(metavar="LIST", parser=SIZES, help="Tokens of a prompt.")] = PROMPT,
    depth: Depth = DEPTH,
    threads: Threads = THREADS,
    dtype: Dtypes = DTYPE,
    weights: Weights = WEIGHTS,
    kernels: KernelsChoice = BenchDecodeConfig.kernels,  # type: ignore[assignment]
    rounds: Rounds = Common.rounds,
    seed: Seed = Common.seed,
    against: Against = None,
    reporting: Reporting,
) -> None:
    """Time how long a prompt takes until its first token is known.

    \b
    A LIST is 128,512 or a range: 1-4, 512-2048+512, 128-4k*2. Every
    combination is a case; all cases take turns, figures are medians.

    \b
    Examples:
      llmkit bench prefill --preset tiny --prompt 128 --rounds 2
      llmkit bench prefill run --prompt 16,32 --depth 0,16 --rounds 2
    """
    config = BenchPrefillConfig(
        prompt=expand_sizes(prompt),
        depth=expand_sizes(depth),
        weights=expand_weights(weights),
        kernels=kernels,
        **_shared(ctx.params),
    )
    _run(ctx, config, reporting)


@with_flag_groups
def decode(
    ctx: typer.Context,
    *,
    model: Model = None,
    preset: Preset = None,
    tokens: Annotated[str, Option(metavar="LIST", parser=SIZES, help="Tokens of a text.")] = TOKENS,
    depth: Depth = DEPTH,
    batch: Annotated[str, Option(metavar="LIST", parser=SIZES, help="Texts at once.")] = BATCH,
    threads: Threads = THREADS,
    dtype: Dtypes = DTYPE,
    weights: Weights = WEIGHTS,
    kernels: KernelsChoice = BenchDecodeConfig.kernels,  # type: ignore[assignment]
    rounds: Rounds = Common.rounds,
    seed: Seed = Common.seed,
    against: Against = None,
    reporting: Reporting,
) -> None:
    """Time the tokens of a text, drawn one by one on the cache.

    \b
    A LIST is 32,64 or a range: 1-4, 512-2048+512, 128-4k*2. Every
    combination is a case; all cases take turns, figures are medians.
    MBU: bytes that must be read, a second, over the measured bandwidth.

    \b
    Examples:
      llmkit bench decode run --tokens 32 --depth 0,16 --rounds 2
      llmkit bench decode --preset tiny --tokens 16 --threads 1-2 --rounds 2
    """
    config = BenchDecodeConfig(
        tokens=expand_sizes(tokens),
        batch=expand_sizes(batch),
        depth=expand_sizes(depth),
        weights=expand_weights(weights),
        kernels=kernels,
        **_shared(ctx.params),
    )
    _run(ctx, config, reporting)


@with_flag_groups
def train(
    ctx: typer.Context,
    *,
    model: Model = None,
    preset: Preset = None,
    batch_rows: Annotated[str, Option(metavar="LIST", parser=SIZES, help="Rows of one update.")] = BATCH_ROWS,
    seq_len: Annotated[str, Option(metavar="LIST", parser=SIZES, help="Tokens of a row.")] = SEQ_LEN,
    threads: Threads = THREADS,
    dtype: Dtypes = DTYPE,
    rounds: Rounds = Common.rounds,
    seed: Seed = Common.seed,
    against: TransformersAgainst = None,
    reporting: Reporting,
) -> None:
    """Time an update: forward, backward, clipping and AdamW on random rows.

    \b
    A LIST is 2,8 or a range: 1-4, 512-2048+512, 128-4k*2. Every
    combination is a case; all cases take turns, figures are medians.
    MFU: operations (6 N + 12 L H E T a token) over the measured peak.

    \b
    Examples:
      llmkit bench train --preset tiny --batch-rows 2 --seq-len 64 --rounds 2
      llmkit bench train run --batch-rows 1-4*2 --seq-len 32 --rounds 2
    """
    config = BenchTrainConfig(
        batch_rows=expand_sizes(batch_rows),
        seq_len=expand_sizes(seq_len),
        **_shared(ctx.params),
    )
    _run(ctx, config, reporting)


@with_flag_groups
def load(
    ctx: typer.Context,
    *,
    model: Annotated[Path, Argument(metavar="MODEL", help="Model folder or GGUF file.")],
    threads: Threads = THREADS,
    dtype: Dtypes = DTYPE,
    rounds: Rounds = Common.rounds,
    against: TransformersAgainst = None,
    reporting: Reporting,
) -> None:
    """Time opening a model folder, as far as the first token.

    \b
    The files are in the system's memory already, from the warm-up round:
    what is measured is the program, not the disk.

    \b
    Examples:
      llmkit bench load run --rounds 2
      llmkit bench load run --dtype float32,bfloat16 --rounds 2
    """
    config = BenchLoadConfig(**_shared(ctx.params))
    _run(ctx, config, reporting)


def _shared(flags: dict[str, Any]) -> dict[str, Any]:
    """The settings that every one of these benches has, from its flags."""
    as_given = ("rounds", "seed", "against", "fail_slower", "require_quiet")
    return {
        "threads": expand_threads(flags["threads"]),
        "dtype": expand_dtypes(flags["dtype"]),
        **{name: flags[name] for name in as_given if name in flags},
    }


def _run(ctx: typer.Context, config: BenchModelConfig, reporting: Reporting) -> None:
    """Plan and measure; print the one or the other."""
    from llmkit.workflows.bench.model import bench_model
    from llmkit.workflows.bench.plan import plan_bench

    session: Session = ctx.obj
    plan = plan_bench(ctx.params["model"], ctx.params.get("preset"), config, baseline=reporting.baseline)
    if reporting.dry_run:
        print_plan(plan.report(), reporting.bench_format)
        return
    with session.console.progress("measuring", log_every=reporting.log_every) as progress:
        report = bench_model(plan, config, progress=progress)
    finish(session, report, reporting)
