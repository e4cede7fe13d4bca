"""The flags of `llmkit finetune` alone: its examples, what is trained, and the settings of each method."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from llmkit.commands.values import parse_count, parse_seconds
from llmkit.errors import UsageError
from llmkit.model.lora_config import ALL_LINEAR, LoraConfig
from llmkit.tokens.supervise_config import LongExamples
from llmkit.train.finetune_config import Method as MethodName

# Examples

Model = Annotated[Path, Argument(metavar="MODEL", help="The base: a model folder or a GGUF file.")]
Data = Annotated[
    list[Path] | None,
    Option("--data", metavar="FILE", help="Chats, prompts with answers, or pairs; - is stdin. Repeatable."),
]
Valid = Annotated[list[Path] | None, Option("--valid", metavar="FILE", help="Held-out ones. Repeatable. Or:")]
ValidFraction = Annotated[float, Option(metavar="X", help="a share of --data held out, by its content.")]
TokenizerPath = Annotated[
    Path | None, Option("--tokenizer", "-t", metavar="PATH", help="If the model has none, or another.")
]
Template = Annotated[
    str | None, Option(metavar="chatml|FILE", help="A chat template in place of the tokenizer's.")
]
MaxTokens = Annotated[
    int | None, Option(metavar="N", parser=parse_count, help="Most tokens of an example; default: a row.")
]
Long = Annotated[LongExamples, Option(help="What becomes of a longer one.")]
SeqLen = Annotated[
    int | None,
    Option(metavar="N", parser=parse_count, help="Row length; default 1024, or the model's positions."),
]
ShowMask = Annotated[int, Option(metavar="N", help="Show N examples, what is learnt marked, on stderr.")]
Strict = Annotated[bool, Option("--strict", help="Exit 1 before training where the audit finds a fault.")]
Rejects = Annotated[
    Path | None, Option("--rejects", metavar="FILE", help="Keep records with a fault here, with the reason.")
]

# What is trained

Lora = Annotated[bool, Option("--lora", help="Low-rank adapters on frozen weights; RUN is PEFT's folder.")]
Rank = Annotated[int | None, Option(metavar="N", help=f"Of the adapters; default {LoraConfig.r}.")]
Alpha = Annotated[
    float | None, Option(metavar="X", help="Their scale is alpha / rank; default twice the rank.")
]
Dropout = Annotated[float | None, Option(metavar="X", help="Of what they read; default 0.")]
Targets = Annotated[
    str | None,
    Option(metavar="A,B|REGEX", help=f"Modules that get one: ends of names; default {ALL_LINEAR}."),
]
LoraLayers = Annotated[int | None, Option(metavar="N", help="Adapters in the last N layers only.")]
SaveModules = Annotated[
    str | None, Option(metavar="A,B", help="Modules trained whole beside them: embed_tokens, lm_head.")
]
Rslora = Annotated[bool, Option("--rslora", help="LoRA with the scale alpha / sqrt(rank).")]
Dora = Annotated[bool, Option("--dora", help="LoRA with a length of its own for each row (DoRA).")]
Qlora = Annotated[bool, Option("--qlora", help="LoRA on weights in 4 bits, or as the file has them.")]
LastLayers = Annotated[int | None, Option(metavar="N", help="Train the last N layers only, no adapters.")]

# What is learnt

Method = Annotated[MethodName, Option(help="The loss; see below.")]
Beta = Annotated[
    float | None, Option(metavar="X", help="Of preference methods; default 0.1, simpo 2, grpo 0.04.")
]
Gamma = Annotated[float | None, Option(metavar="X", help="simpo: the margin; default 1.")]
LabelSmoothing = Annotated[
    float | None, Option(metavar="X", help="dpo, robust, simpo: share of labels that are wrong.")
]
DesirableWeight = Annotated[float | None, Option(metavar="X", help="kto: of good answers; default 1.")]
UndesirableWeight = Annotated[float | None, Option(metavar="X", help="kto: of bad ones.")]
Teacher = Annotated[Path | None, Option(metavar="PATH", help="kd: the model to learn from.")]
Temperature = Annotated[float | None, Option(metavar="X", help="kd: of both; grpo: of answers; default 1.")]
Direction = Annotated[
    Literal["forward", "reverse"] | None, Option(help="kd: KL from the teacher or from the model.")
]
HardWeight = Annotated[float | None, Option(metavar="X", help="kd: of the token itself; default 0.")]
Reward = Annotated[
    str | None, Option(metavar="CMD", help='grpo: reads {"prompt","completion"} lines, prints scores.')
]
RewardTimeout = Annotated[
    float | None,
    Option(metavar="TIME", parser=parse_seconds, help="grpo: how long it may be silent; default 1m."),
]
GroupSize = Annotated[int | None, Option(metavar="N", help="grpo: answers to a prompt; default 8.")]
CompletionTokens = Annotated[
    int | None, Option(metavar="N", parser=parse_count, help="grpo: most tokens of one; default 128.")
]
UpdatesPerRollout = Annotated[
    int | None, Option(metavar="N", help="grpo: updates from the same answers; default 1.")
]
ClipRatio = Annotated[
    float | None, Option(metavar="X", help="grpo: how far a probability may move then; default 0.2.")
]
Patience = Annotated[
    int | None, Option(metavar="N", help="End after N evaluations without a lower validation loss.")
]
Lr = Annotated[
    float | None,
    Option(metavar="X", help="Peak; default 2e-5 * 4096 / hidden_size, LoRA 10x; preferences 1e-6."),
]
BatchRows = Annotated[
    int | None,
    Option(metavar="N", parser=parse_count, help="Rows of an update; default 2048 tokens' worth, 8 pairs."),
]
SamplePrompt = Annotated[
    list[str] | None, Option(metavar="TEXT", help="A message answered before and after. Repeatable.")
]


def lora_config(
    *,
    lora: bool,
    rank: int | None,
    alpha: float | None,
    dropout: float | None,
    targets: str | None,
    lora_layers: int | None,
    save_modules: str | None,
    rslora: bool,
    dora: bool,
    qlora: bool,
) -> LoraConfig | None:
    """The adapters that the flags ask for; None: there are none.

    Raises:
        UsageError: details of adapters without adapters.
        ConfigError: a value is out of range.
    """
    details = {
        "--rank": rank,
        "--alpha": alpha,
        "--dropout": dropout,
        "--targets": targets,
        "--lora-layers": lora_layers,
        "--save-modules": save_modules,
    }
    if not (lora or rslora or dora or qlora):
        flag = next((flag for flag, value in details.items() if value is not None), None)
        if flag is not None:
            raise UsageError(f"{flag} without adapters", hint=f"add --lora, or leave {flag} out")
        return None
    r = LoraConfig.r if rank is None else rank
    return LoraConfig(
        r=r,
        alpha=2.0 * r if alpha is None else alpha,
        dropout=LoraConfig.dropout if dropout is None else dropout,
        use_rslora=rslora,
        use_dora=dora,
        targets=LoraConfig.targets if targets is None else _targets(targets),
        layers=lora_layers,
        modules_to_save=_names(save_modules or ""),
    )


def _targets(text: str) -> str | tuple[str, ...]:
    """Names where it is words and dots with commas between, else one pattern."""
    if text == ALL_LINEAR or not all(name.replace(".", "").isidentifier() for name in _names(text)):
        return text
    return _names(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
