"""The flags of `llmkit merge`: which models, how they become one, and what is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from llmkit.commands.values import MOST_AT_ONCE, parse_size
from llmkit.model.algebra.method import Method
from llmkit.workflows.merge.options import Dtype, MergeConfig

Models = Annotated[list[str], Argument(metavar="MODEL", help="Folders or GGUF files; NAME=PATH with --expr.")]
Out = Annotated[Path, Option("--out", "-o", help="Folder to write.")]
Adapters = Annotated[
    list[str] | None,
    Option(
        "--adapter", "--lora", metavar="PATH[:SCALE]", help="PEFT folder or GGUF file to fold in; repeatable."
    ),
]
Into = Annotated[
    str | None,
    Option("--into", metavar="WHAT", help="Of a quantised base: dequantised, or the original's PATH."),
]
Check = Annotated[
    bool, Option("--check", help="Compare logits with the adapter unmerged; exit 1 when they differ.")
]
Tolerance = Annotated[
    float | None, Option("--tolerance", metavar="X", min=0, help="Largest difference. Default: measured.")
]
Threads = Annotated[
    int | None,
    Option(
        "--threads",
        metavar="N",
        min=1,
        max=MOST_AT_ONCE,
        help="Same bytes for any number. Default: OMP_NUM_THREADS, or all.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Algebra:
    """How several models become one."""

    method: Annotated[Method | None, Option("--method", help="How to merge several models.")] = None
    base: Annotated[
        Path | None, Option("--base", metavar="PATH", help="Common ancestor: all but linear and slerp.")
    ] = MergeConfig.base
    weight: Annotated[
        list[float] | None,
        Option(
            "--weight", metavar="X", help="Of each model in turn; slerp's t. Default: equal, 1 with --base."
        ),
    ] = None
    density: Annotated[
        list[float] | None,
        Option("--density", metavar="X", help="Share of a difference kept by ties, dare. [default: 0.5]"),
    ] = None
    normalize: Annotated[
        bool | None,
        Option("--normalize/--no-normalize", help="Divide by the weights' sum. Default: linear, ties."),
    ] = MergeConfig.normalize
    scale: Annotated[float, Option("--scale", metavar="X", help="Times the merged difference to --base.")] = (
        MergeConfig.scale
    )
    expression: Annotated[
        str | None, Option("--expr", metavar="TEXT", help="Sum of models, such as 'a + 0.5*(b - base)'.")
    ] = MergeConfig.expression

    def settings(self) -> dict[str, Any]:
        """As MergeConfig has them."""
        given = dict(vars(self))
        weights, densities = given.pop("weight"), given.pop("density")
        return {**given, "weights": tuple(weights or ()), "densities": tuple(densities or ())}


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """How an adapter is taken out of two models."""

    extract: Annotated[
        bool, Option("--extract", help="From BASE and TUNED, the LoRA adapter between them.")
    ] = MergeConfig.extract
    rank: Annotated[
        int | None, Option("--rank", metavar="N", min=1, help="Of an extracted adapter, at most.")
    ] = MergeConfig.rank
    energy: Annotated[
        float | None,
        Option("--energy", metavar="X", help="Choose each rank: the lowest that keeps this share."),
    ] = MergeConfig.energy


@dataclass(frozen=True, kw_only=True)
class Written:
    """What is written, and beside which tokenizer."""

    dtype: Annotated[
        Dtype | None, Option("--dtype", help="Of the output; default: the first model's, adapters float32.")
    ] = MergeConfig.dtype
    max_shard_size: Annotated[
        int, Option("--max-shard-size", metavar="SIZE", parser=parse_size, help="Of a safetensors file.")
    ] = MergeConfig.max_shard_bytes
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="In place of the first model's.")
    ] = MergeConfig.tokenizer
    no_tokenizer: Annotated[bool, Option("--no-tokenizer", help="Leave the tokenizer out.")] = False

    def settings(self) -> dict[str, Any]:
        """As MergeConfig has them."""
        return {
            "dtype": self.dtype,
            "max_shard_bytes": self.max_shard_size,
            "tokenizer": self.tokenizer,
            "carry_tokenizer": not self.no_tokenizer,
        }
