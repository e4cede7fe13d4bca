"""The flags of `llmkit finetune` alone: its examples, what is trained, and the settings of each method."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from llmkit.commands import run_flags
from llmkit.commands.shared import SkipBad
from llmkit.commands.values import parse_count, parse_seconds
from llmkit.formats.provenance import WithPaths
from llmkit.tokens.supervise_config import LongExamples, SuperviseConfig
from llmkit.train.finetune_config import FinetuneConfig
from llmkit.train.finetune_config import Method as MethodName

# Examples

Model = Annotated[Path, Argument(metavar="MODEL", help="The base: a model folder or a GGUF file.")]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What is learnt from, and what is held out."""

    data: Annotated[
        list[Path] | None,
        Option(
            "--data", metavar="FILE", help="Chats, prompts with answers, or pairs; - is stdin. Repeatable."
        ),
    ] = None
    valid: Annotated[
        list[Path] | None, Option("--valid", metavar="FILE", help="Held-out ones. Repeatable. Or:")
    ] = None
    valid_fraction: Annotated[
        float, Option(metavar="X", help="a share of --data held out, by its content.")
    ] = SuperviseConfig.valid_fraction


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How examples become tokens, and what is wrong with them."""

    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="If the model has none, or another.")
    ] = None
    template: Annotated[
        str | None,
        Option(parser=WithPaths, metavar="chatml|FILE", help="A chat template in place of the tokenizer's."),
    ] = None
    max_tokens: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Most tokens of an example; default: a row.")
    ] = SuperviseConfig.max_tokens
    long: Annotated[LongExamples, Option(help="What becomes of a longer one.")] = SuperviseConfig.long
    seq_len: Annotated[
        int | None,
        Option(metavar="N", parser=parse_count, help="Row length; default 1024, or the model's positions."),
    ] = None
    rope_scaling: run_flags.RopeScaling = None
    show_mask: Annotated[
        int, Option(metavar="N", help="Show N examples, what is learnt marked, on stderr.")
    ] = 0
    strict: Annotated[
        bool, Option("--strict", help="Exit 1 before training where the audit finds a fault.")
    ] = False
    rejects: Annotated[
        Path | None,
        Option("--rejects", metavar="FILE", help="Keep records with a fault here, with the reason."),
    ] = None
    skip_bad: SkipBad = False


# What is trained

LastLayers = Annotated[int | None, Option(metavar="N", help="Train the last N layers only, no adapters.")]


# What is learnt

Method = Annotated[MethodName, Option(help="The loss; see Methods.")]


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Of the methods that learn which answers are good."""

    beta: Annotated[
        float | None, Option(metavar="X", help="Of preference methods; default 0.1, simpo 2, grpo 0.04.")
    ] = None
    gamma: Annotated[float | None, Option(metavar="X", help="simpo: the margin; default 1.")] = None
    label_smoothing: Annotated[
        float | None, Option(metavar="X", help="dpo, robust, simpo: share of labels that are wrong.")
    ] = None
    desirable_weight: Annotated[
        float | None, Option(metavar="X", help="kto: of good answers; default 1.")
    ] = None
    undesirable_weight: Annotated[float | None, Option(metavar="X", help="kto: of bad ones.")] = None


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Of learning from a teacher."""

    teacher: Annotated[Path | None, Option(metavar="PATH", help="kd: the model to learn from.")] = None
    temperature: Annotated[
        float | None, Option(metavar="X", help="kd: of both; grpo: of answers; default 1.")
    ] = None
    direction: Annotated[
        Literal["forward", "reverse"] | None, Option(help="kd: KL from the teacher or from the model.")
    ] = None
    hard_weight: Annotated[float | None, Option(metavar="X", help="kd: of the token itself; default 0.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """Of learning from answers that a program scores."""

    reward: Annotated[
        str | None,
        Option(
            parser=WithPaths, metavar="CMD", help='grpo: reads {"prompt","completion"} lines, prints scores.'
        ),
    ] = None
    reward_timeout: Annotated[
        float | None,
        Option(metavar="TIME", parser=parse_seconds, help="grpo: how long it may be silent; default 1m."),
    ] = None
    group_size: Annotated[int | None, Option(metavar="N", help="grpo: answers to a prompt; default 8.")] = (
        None
    )
    completion_tokens: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="grpo: most tokens of one; default 128.")
    ] = None
    updates_per_rollout: Annotated[
        int | None, Option(metavar="N", help="grpo: updates from the same answers; default 1.")
    ] = None
    clip_ratio: Annotated[
        float | None, Option(metavar="X", help="grpo: how far a probability may move then; default 0.2.")
    ] = None


# How it is learnt

Patience = Annotated[
    int | None, Option(metavar="N", help="End after N evaluations without a lower validation loss.")
]
Lr = Annotated[
    float | None,
    Option(
        metavar="X",
        help="Peak; default 2e-5, preferences 1e-6, orpo 8e-6, LoRA 10x; all * 4096 / hidden_size.",
    ),
]
BatchRows = Annotated[
    int | None,
    Option(metavar="N", parser=parse_count, help="Rows of an update; default 2048 tokens' worth, 8 pairs."),
]


@dataclass(frozen=True, kw_only=True)
class AdamW(run_flags.AdamW):
    """The optimiser, with what suits weights that are good already."""

    weight_decay: run_flags.WeightDecay = FinetuneConfig.weight_decay


@dataclass(frozen=True, kw_only=True)
class Samples(run_flags.Samples):
    """Answers that show what was learnt."""

    sample_prompt: Annotated[
        list[str] | None, Option(metavar="TEXT", help="A message answered before and after. Repeatable.")
    ] = None
