"""The flags of `llmkit pretrain` alone: budgets by a rule, its optimisers, and looks at a run before it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer import Context, Option

from llmkit.commands import run_flags
from llmkit.commands.settings import flag_name
from llmkit.commands.values import is_typed, parse_count
from llmkit.errors import UsageError
from llmkit.train.budget import CHINCHILLA
from llmkit.train.config import OptimizerName, SpikeReaction

NAMED_RATIOS = {"chinchilla": CHINCHILLA}


def parse_ratio(text: str | float) -> float:
    """Tokens for each parameter: a number, or a name of NAMED_RATIOS.

    Raises:
        BadParameter: neither.
    """
    try:
        if is_typed(text):
            return NAMED_RATIOS[text] if text in NAMED_RATIOS else float(text)
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is no number such as 20, and not {', '.join(NAMED_RATIOS)}")


def check_trial(*, overfit_batch: bool, find_lr: bool, dry_run: bool, fail_above: float | None) -> None:
    """Refuse two looks at a run at once, and a gate that would judge nothing.

    Raises:
        UsageError: two are asked for, or --find-lr with --fail-above.
    """
    looks = {"--overfit-batch": overfit_batch, "--find-lr": find_lr, "--dry-run": dry_run}
    asked = [flag for flag, given in looks.items() if given]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]}: each is a report of its own", hint="give one of them")
    if find_lr and fail_above is not None:
        raise UsageError("--fail-above judges no range of rates", hint="leave it out with --find-lr")


_OF_A_RUN = frozenset(
    {
        *("valid", "steps", "epochs", "tokens", "tokens_per_parameter", "target_flops", "batch_ramp"),
        *("min_lr_ratio", "schedule", "warmup_steps", "decay_ratio", "on_nonfinite", "on_spike"),
        *("max_rewinds", "eval_every", "eval_rows", "sample_every", "sample_prompt", "sample_tokens"),
        *("sample_temperature", "checkpoint_every", "keep", "keep_every", "async_checkpoint", "resume"),
        *("max_time", "metrics", "tensorboard", "log_norms", "profile"),
    }
)


def flags_of_a_run(ctx: Context) -> list[str]:
    """Those that were given and mean nothing to a trial, which has its own rates and length, and no files."""
    return [
        flag_name(param)
        for param in ctx.command.params
        if param.name in _OF_A_RUN and ctx.params[param.name] not in (None, [], (), param.default)
    ]


def check_calibrate(*, calibrate: bool, dry_run: bool) -> None:
    """Refuse to time steps for a plan that nobody asked for.

    Raises:
        UsageError: --calibrate without --dry-run.
    """
    if calibrate and not dry_run:
        raise UsageError("--calibrate times a plan's steps", hint="add --dry-run")


OverfitBatch = Annotated[
    bool, Option("--overfit-batch", help="Learn the first batch 100 times over, report, write nothing.")
]
Calibrate = Annotated[
    bool, Option("--calibrate", help="With --dry-run: time some steps, however long they take.")
]
FindLr = Annotated[
    bool, Option("--find-lr", help="100 updates at rising rates: the curve, a rate; write nothing.")
]
Optimizer = Annotated[
    OptimizerName, Option(help="muon: for the matrices of layers, at AdamW's rate; AdamW for the rest.")
]
MupBaseWidth = Annotated[
    int | None,
    Option(metavar="N", help="Width of --lr and --initializer-range: a wider model learns alike (muP)."),
]
ZLoss = Annotated[
    float | None,
    Option("--z-loss", metavar="X", help="Of logits that stay small (PaLM: 1e-4); default: none."),
]
Fp8 = Annotated[
    bool, Option("--fp8", help="Layers' matrices multiply in float8 (GPUs from Ada and Hopper on).")
]
AsyncCheckpoint = Annotated[
    bool, Option("--async-checkpoint", help="Copy what is to be saved, and write it while training goes on.")
]
OnSpike = Annotated[
    SpikeReaction, Option(help="At one above mean + 6 sigma of the last 128; rewind: to a checkpoint.")
]
MaxRewinds = Annotated[
    int | None, Option(metavar="N", help="How often; then a spike ends the run. Default 3.")
]
Momentum = Annotated[float | None, Option(metavar="X", help="Of Muon; default 0.95.")]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is learnt from, and what the model begins as."""

    data: Annotated[
        list[Path] | None,
        Option("--data", metavar="PATH", help="Shard folder, or documents; - is stdin. Repeatable."),
    ] = None
    tokenizer: Annotated[
        Path | None,
        Option("--tokenizer", "-t", metavar="PATH", help="For documents, samples, the model folder."),
    ] = None
    valid: Annotated[
        list[Path] | None, Option("--valid", metavar="PATH", help="Held-out shards or documents. Repeatable.")
    ] = None
    preset: Annotated[
        str | None, Option("--preset", metavar="NAME", help="Shape of a fresh model.", show_default="tiny")
    ] = None
    model: Annotated[
        Path | None,
        Option("--model", "-m", metavar="PATH", help="Model folder or GGUF file, or a config.json."),
    ] = None
    rope_scaling: run_flags.RopeScaling = None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How long a run is, by a rule."""

    tokens_per_parameter: Annotated[
        float | None,
        Option(metavar="X", parser=parse_ratio, help="tokens for each parameter in use; chinchilla: 20. Or:"),
    ] = None
    target_flops: Annotated[
        float | None, Option(metavar="N", parser=parse_count, help="FLOPs of the whole run: 1e18.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Batches:
    """How much is learnt at once."""

    batch_rows: run_flags.BatchRows = None
    batch_tokens: run_flags.BatchTokens = None
    batch_ramp: Annotated[
        str | None, Option(metavar="ROWS:STEPS", help="Begin with fewer rows; all from update STEPS on.")
    ] = None
    micro_batch_rows: run_flags.MicroBatchRows = None
