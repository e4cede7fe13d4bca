"""The flags that every training run has: its budget, optimiser, evaluations, checkpoints and machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from llmkit.commands.values import MOST_AT_ONCE, parse_count, parse_finite, parse_seconds
from llmkit.errors import UsageError
from llmkit.formats.streams import STDIO
from llmkit.train.config import ActivationCheckpointing as Recomputed
from llmkit.train.config import PretrainConfig, Reaction, ScheduleName
from llmkit.train.config import Resume as ResumeChoice


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a run is: one of these."""

    steps: Annotated[int | None, Option(metavar="N", parser=parse_count, help="Updates: the budget. Or:")] = (
        PretrainConfig.steps
    )
    epochs: Annotated[float | None, Option(metavar="X", help="passes over the rows (default 1), or:")] = None
    tokens: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="tokens, repeats counted.")
    ] = None


# From what

RopeScaling = Annotated[
    str | None,
    Option(
        "--rope-scaling", metavar="TYPE:X", help="Longer rows for a trained model: yarn:4, linear:2, JSON."
    ),
]

# How much at once

BatchRows = Annotated[
    int | None,
    Option(metavar="N", parser=parse_count, help="Rows of an update; default 2048 tokens' worth."),
]
BatchTokens = Annotated[
    int | None, Option(metavar="N", parser=parse_count, help="The same in tokens, whole rows.")
]
MicroBatchRows = Annotated[
    int | None, Option(metavar="N", help="Rows of one pass; gradients add up over a batch.")
]

# The optimiser

WeightDecay = Annotated[float, Option(metavar="X", help="On matrices.")]


@dataclass(frozen=True, kw_only=True)
class Decay:
    """What becomes of the learning rate."""

    min_lr_ratio: Annotated[float, Option(metavar="X", help="Its share at the end.")] = (
        PretrainConfig.min_lr_ratio
    )
    schedule: Annotated[ScheduleName, Option(help="After the warm-up.")] = PretrainConfig.schedule
    warmup_steps: Annotated[
        int | None, Option(metavar="N", help="Default: a twentieth of the steps, at most 2000.")
    ] = None
    decay_ratio: Annotated[
        float | None, Option(metavar="X", help="Last part over which wsd decays; default 0.4.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """The optimiser."""

    beta1: Annotated[float, Option(metavar="X", help="Of AdamW.")] = PretrainConfig.beta1
    beta2: Annotated[float, Option(metavar="X", help="Of AdamW.")] = PretrainConfig.beta2
    weight_decay: WeightDecay = PretrainConfig.weight_decay
    clip: Annotated[float, Option(metavar="X", help="Largest gradient norm; 0: any.")] = PretrainConfig.clip


@dataclass(frozen=True, kw_only=True)
class Routers:
    """What experts are trained with."""

    router_aux_loss_coef: Annotated[
        float | None, Option(metavar="X", help="Of experts evenly used; default: the model's.")
    ] = None
    router_z_loss_coef: Annotated[
        float | None, Option(metavar="X", help="Of small router logits; default: the model's.")
    ] = None
    router_bias_update: Annotated[
        float | None, Option(metavar="X", help="Step of experts' selection bias; default 0.001.")
    ] = None


# Arithmetic and faults

Dtype = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Option(help="Of the arithmetic; auto: bfloat16 on GPUs, and wide models on x86 that has it."),
]
DocumentMask = Annotated[bool, Option(help="Keep attention within a document.")]
OnNonfinite = Annotated[
    Literal["stop", "skip"], Option(help="At a loss or gradient that is not finite; skip: up to 32 in a row.")
]
OnSpike = Annotated[Reaction, Option(help="At one above mean + 6 sigma of the last 128.")]

# What is done between updates

EvalEvery = Annotated[int | None, Option(metavar="STEPS", help="Default: ten times a run.")]
EvalRows = Annotated[int | None, Option(metavar="N", help="Only the first rows of --valid.")]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What the model writes between updates, to be looked at."""

    sample_every: Annotated[int, Option(metavar="STEPS", help="0: no samples.")] = PretrainConfig.sample_every
    sample_prompt: Annotated[
        list[str] | None, Option(metavar="TEXT", help="What samples go on from. Repeatable.")
    ] = None
    sample_tokens: Annotated[int, Option(metavar="N", help="Of each sample.")] = PretrainConfig.sample_tokens
    sample_temperature: Annotated[float, Option(metavar="X", help="0: greedy.")] = (
        PretrainConfig.sample_temperature
    )


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """When a checkpoint is written, and how long it stays."""

    checkpoint_every: Annotated[int | None, Option(metavar="STEPS", help="Default: ten times a run.")] = None
    keep: Annotated[int, Option(metavar="N", help="Checkpoints to keep, the last ones.")] = (
        PretrainConfig.keep
    )
    keep_every: Annotated[
        int | None,
        Option(metavar="STEPS", parser=parse_count, help="Checkpoints that stay for good, beside these."),
    ] = None


# The run

Resume = Annotated[
    ResumeChoice, Option(help="auto: go on where RUN has a checkpoint; must: or fail; never: start over.")
]
MaxTime = Annotated[
    float | None, Option(metavar="TIME", parser=parse_seconds, help="30m, 8h: save, exit 75, resumable.")
]
FailAbove = Annotated[
    float | None,
    Option(metavar="LOSS", parser=parse_finite, help="Exit 1 when the (validation) loss ends above."),
]


@dataclass(frozen=True, kw_only=True)
class Records:
    """What is written down of a run."""

    metrics: Annotated[
        Path | None, Option(metavar="FILE", help="Metrics here too, beside RUN/metrics.jsonl; - is stdout.")
    ] = None
    tensorboard: Annotated[
        Path | None, Option("--tensorboard", metavar="DIR", help="Metrics as TensorBoard's event files too.")
    ] = None
    log_norms: Annotated[
        int, Option(metavar="STEPS", help="Norms of each layer in the metrics, every so often; 0: never.")
    ] = PretrainConfig.log_norms
    profile: Annotated[
        str | None, Option(metavar="WAIT:STEPS", help="A Chrome trace in RUN/profile; 10:3: steps 11 to 13.")
    ] = None


# The machine


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What computes."""

    compile_model: Annotated[
        bool, Option("--compile", help="Compile the model: slow start, faster steps.")
    ] = False
    activation_checkpointing: Annotated[
        Recomputed,
        Option(help="Compute again in the backward pass: less memory, slower."),
    ] = PretrainConfig.activation_checkpointing
    device: Annotated[str, Option(metavar="NAME", help="auto, cpu, cuda, cuda:N.")] = PretrainConfig.device
    threads: Annotated[int | None, Option(min=1, max=MOST_AT_ONCE, metavar="N", help="CPU threads.")] = (
        PretrainConfig.threads
    )


def check_stdout(records: Records, *, as_json: bool, dry_run: bool) -> None:
    """Refuse two things on one stdout.

    Raises:
        UsageError: the metrics go there, and so would the report.
    """
    if records.metrics == STDIO and as_json and not dry_run:
        raise UsageError(
            "--json and --metrics -: both are for stdout",
            hint="--metrics FILE, or leave --json out: the last records say what came of the run",
        )
