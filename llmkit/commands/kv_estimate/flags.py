"""The flags of `llmkit kv-estimate`, one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from llmkit.commands.values import parse_count, parse_size
from llmkit.errors import ConfigError, at_place
from llmkit.estimate.config import UNKNOWN_CONTEXT, Optimizer, Precision, Recompute
from llmkit.model.config_checks import MOST_LAYERS

_CACHE_ALIASES = {"q8": "q8_0", "q4": "q4_0", "f16": "float16", "bf16": "bfloat16", "f32": "float32"}
"""What llama.cpp and vLLM call them, or people for short."""


def parse_weights(name: object) -> str:
    """The name of a way to store weights.

    Raises:
        ConfigError: there is none of this name.
    """
    from llmkit.estimate.scheme_names import parse_scheme  # where it is asked for: a tenth of a short command

    return _known("--dtype", str(name).lower(), parse_scheme)


def parse_cache(name: object) -> str:
    """The name of a way to store a cache.

    Raises:
        ConfigError: there is none of this name.
    """
    from llmkit.estimate.cache_dtypes import cache_format

    name = str(name).lower()
    return _known("--kv-dtype", _CACHE_ALIASES.get(name, name), cache_format)


def _known(flag: str, name: str, read: Callable[[str], object]) -> str:
    with at_place(flag, ConfigError):
        read(name)
    return name


# Which model

Preset = Annotated[list[str] | None, Option("--preset", metavar="NAME", help="A shape by name. Repeatable.")]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes in place of the model's, or of a model that has no other."""

    num_hidden_layers: Annotated[
        int | None,
        Option("--num-hidden-layers", "--layers", metavar="N", min=1, max=MOST_LAYERS, help="Blocks."),
    ] = None
    num_attention_heads: Annotated[
        int | None, Option("--num-attention-heads", "--heads", metavar="N", min=1, help="Query heads.")
    ] = None
    num_key_value_heads: Annotated[
        int | None,
        Option("--num-key-value-heads", "--kv-heads", metavar="N", min=1, help="Default: as many as heads."),
    ] = None
    head_dim: Annotated[int | None, Option(metavar="N", min=1, help="Default: hidden size / heads.")] = None
    hidden_size: Annotated[int | None, Option(metavar="N", min=1, help="Width of the model.")] = None
    intermediate_size: Annotated[int | None, Option(metavar="N", min=1, help="Width of the MLP.")] = None
    vocab_size: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Rows of the embedding.")
    ] = None
    tie_word_embeddings: Annotated[bool | None, Option(help="Whether the head is the embedding itself.")] = (
        None
    )


# How it is used

Context = Annotated[
    int | None,
    Option(
        "--context",
        "-c",
        metavar="N",
        parser=parse_count,
        help=f"Tokens a sequence, prompt and output; default: all the model has, or {UNKNOWN_CONTEXT}.",
    ),
]
Batch = Annotated[int, Option("--batch", "-b", metavar="N", parser=parse_count, help="Sequences at once.")]
Memory = Annotated[
    int | None,
    Option(
        "--memory",
        "--fit",
        metavar="SIZE",
        parser=parse_size,
        help="24GiB: exit 1 when a device with this much does not hold it.",
    ),
]
Weights = Annotated[
    str | None,
    Option(
        "--dtype",
        metavar="FORMAT",
        parser=parse_weights,
        help="Of all weights: bfloat16, q4_k_m, gptq-4bit-g128, nf4, mlx-4bit-g64 …; default: as stored.",
    ),
]
KVCache = Annotated[
    str | None,
    Option(
        "--kv-dtype",
        metavar="FORMAT",
        parser=parse_cache,
        help="Of the cache: bfloat16, fp8, q8_0, int8-token (llmkit's int8) …; default: the model's own.",
    ),
]
TensorParallel = Annotated[
    int, Option("--tensor-parallel", "--tp", metavar="N", min=1, help="Devices that share each layer.")
]
BlockSize = Annotated[
    int | None, Option(metavar="N", min=1, help="Tokens of a page of the cache; vLLM's is 16.")
]
SharedPrefix = Annotated[
    int, Option(metavar="N", parser=parse_count, help="Tokens all sequences share and keep once.")
]
Window = Annotated[
    bool,
    Option(
        help="Whether windows let go of what is outside (llmkit's engine does; not on GPUs or with --tp)."
    ),
]
PrefillChunk = Annotated[
    int | None,
    Option(metavar="N", parser=parse_count, help="Count activations of so many prompt tokens at a time."),
]

# Speed and cost


@dataclass(frozen=True, kw_only=True)
class Speed:
    """On which device, how much of it is reached, and what its tokens cost."""

    device: Annotated[
        str | None, Option("--device", metavar="NAME", help="Speed on h100, a100-80, l4, rtx4090, m3-max …")
    ] = None
    devices: Annotated[
        Path | None, Option("--devices", metavar="FILE", help="TOML: further devices, or other figures.")
    ] = None
    measure: Annotated[bool, Option("--measure", help="Speed on this machine, measured now.")] = False
    prompt: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Tokens of a prompt; default: --context.")
    ] = None
    mfu: Annotated[
        float | None, Option(metavar="PART", help="Of the arithmetic that is reached; default: 1.")
    ] = None
    mbu: Annotated[
        float | None, Option(metavar="PART", help="Of the bandwidth that is reached; default: 1.")
    ] = None
    calibrate: Annotated[
        Path | None,
        Option(metavar="FILE", help="A report of llmkit bench --format json: prefill tells MFU, decode MBU."),
    ] = None
    price_per_hour: Annotated[
        float | None, Option(metavar="PRICE", help="Of one device: price of tokens.")
    ] = None
    prices: Annotated[
        Path | None,
        Option(
            "--prices",
            metavar="FILE",
            help="TOML: DEVICE = PRICE an hour, a line each; without --device, the cheapest.",
        ),
    ] = None
    utilisation: Annotated[
        float | None, Option(metavar="PART", help="Of an hour that is used; default: 1.")
    ] = None
    users: Annotated[int | None, Option(metavar="N", parser=parse_count, help="Fleet for so many users.")] = (
        None
    )
    rate: Annotated[
        float | None, Option(metavar="N", help="Tokens a second that each of them is to get.")
    ] = None
    concurrency: Annotated[
        float | None, Option(metavar="PART", help="Of the users that wait at the same time; default: 1.")
    ] = None


# Training


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained, and on how many devices; None: as `TrainingSettings` has it."""

    optimizer: Annotated[
        Optimizer | None,
        Option("--optimizer", metavar="NAME", help="adamw, adamw-8bit, muon, sgd-momentum."),
    ] = None
    precision: Annotated[
        Precision | None,
        Option(
            "--precision",
            metavar="NAME",
            help="bf16-master (18 bytes a parameter with AdamW), mixed16 (16), fp32 (16), bf16 (8).",
        ),
    ] = None
    zero: Annotated[
        int | None,
        Option(metavar="STAGE", min=0, help="ZeRO: 1 optimiser, 2 and gradients, 3 (FSDP) weights."),
    ] = None
    data_parallel: Annotated[
        int | None,
        Option("--data-parallel", "--dp", metavar="N", min=1, help="Devices that ZeRO splits over."),
    ] = None
    pipeline_parallel: Annotated[
        int | None,
        Option("--pipeline-parallel", "--pp", metavar="N", min=1, help="Stages, one after the other."),
    ] = None
    micro_batches: Annotated[int | None, Option(metavar="N", min=1, help="Of a step, for the pipeline.")] = (
        None
    )
    recompute: Annotated[
        Recompute | None,
        Option("--recompute", metavar="WHAT", help="none, selective (flash attention) or full layers."),
    ] = None
    sequence_parallel: Annotated[bool | None, Option(help="Split what is between the matrices too.")] = None
    lora_rank: Annotated[int | None, Option(metavar="R", min=1, help="Train adapters of this rank.")] = None
    qlora: Annotated[bool, Option("--qlora", help="Keep the frozen weights in NF4.")] = False
