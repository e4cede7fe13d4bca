"""llmkit kv-estimate: memory of weights and KV cache from a config alone; exit 1 when it does not fit."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.shared import inputs_or_stdin, print_lines
from llmkit.commands.values import parse_count
from llmkit.estimate.config import UNKNOWN_CONTEXT, EstimateConfig
from llmkit.estimate.dtypes import CACHE_ONLY, WEIGHT_DTYPES, KVDtype, WeightDtype

Default = EstimateConfig
SHAPE_FLAGS = (
    *("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_size"),
    *("intermediate_size", "vocab_size", "tie_word_embeddings"),
)
USAGE = "llmkit kv-estimate config.json"


def kv_estimate(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        Argument(metavar="PATH...", help="config.json, or a folder that has one; - is stdin."),
    ] = None,
    preset: Annotated[
        list[str] | None, Option("--preset", metavar="NAME", help="A shape by name. Repeatable.")
    ] = None,
    context: Annotated[
        int | None,
        Option(
            "--context",
            "-c",
            metavar="N",
            parser=parse_count,
            help=f"Tokens a sequence, prompt and output; default: all the model has, or {UNKNOWN_CONTEXT}.",
        ),
    ] = Default.context,
    batch: Annotated[
        int, Option("--batch", "-b", metavar="N", parser=parse_count, help="Sequences held at once.")
    ] = Default.batch,
    memory: Annotated[
        int | None,
        Option("--memory", metavar="SIZE", parser=parse_count, help="24GiB: exit 1 when it does not fit."),
    ] = Default.memory_bytes,
    dtype: Annotated[
        WeightDtype | None,
        Option(metavar="DTYPE", help=f"Of all weights: {', '.join(WEIGHT_DTYPES)}; default: as stored."),
    ] = Default.dtype,
    kv_dtype: Annotated[
        KVDtype | None,
        Option(
            metavar="DTYPE",
            help=f"Of the cache: the same, or llama.cpp's {', '.join(CACHE_ONLY)}; default: the model's own.",
        ),
    ] = Default.kv_dtype,
    num_hidden_layers: Annotated[
        int | None, Option("--num-hidden-layers", "--layers", metavar="N", min=1, help="Blocks.")
    ] = None,
    num_attention_heads: Annotated[
        int | None, Option("--num-attention-heads", "--heads", metavar="N", min=1, help="Query heads.")
    ] = None,
    num_key_value_heads: Annotated[
        int | None,
        Option("--num-key-value-heads", "--kv-heads", metavar="N", min=1, help="Default: as many as heads."),
    ] = None,
    head_dim: Annotated[int | None, Option(metavar="N", min=1, help="Default: hidden size / heads.")] = None,
    hidden_size: Annotated[int | None, Option(metavar="N", min=1, help="Width of the model.")] = None,
    intermediate_size: Annotated[int | None, Option(metavar="N", min=1, help="Width of the MLP.")] = None,
    vocab_size: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Rows of the embedding.")
    ] = None,
    tie_word_embeddings: Annotated[
        bool | None, Option(help="Whether the head is the embedding itself.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="A JSON object a model.")] = False,
) -> None:
    """Say what memory a model's weights and KV cache take, from its shape alone.

    Several models make a table. Flags of a shape change a model that is named,
    and need none: --layers, --kv-heads and --head-dim make a KV cache; with
    --heads, --hidden-size, --intermediate-size and --vocab-size, a Llama-shaped
    model. Not counted: activations, workspace, the program itself; the scales
    of fp8, int8 and int4.

    \b
    Examples:
      llmkit kv-estimate config.json --context 8k --batch 16 --memory 24GiB
      llmkit kv-estimate run --json
      llmkit kv-estimate --preset llama-3.2-1b --preset qwen3-0.6b -c 32k
      llmkit kv-estimate --preset llama-2-7b --dtype int4 --kv-dtype q8_0
      llmkit kv-estimate --layers 32 --kv-heads 8 --head-dim 128 -c 128k
    """
    overrides = {name: ctx.params[name] for name in SHAPE_FLAGS if ctx.params[name] is not None}
    paths = inputs or []
    if not paths and not preset and not overrides:
        paths = inputs_or_stdin(inputs, USAGE)
    from llmkit.commands.kv_estimate_text import estimates_text
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.kv_estimate import check_fit, estimate_models
    from llmkit.workflows.kv_estimate_models import ModelSources

    settings = EstimateConfig(
        context=context, batch=batch, dtype=dtype, kv_dtype=kv_dtype, memory_bytes=memory
    )
    sources = ModelSources(paths=tuple(paths), presets=tuple(preset or ()), overrides=overrides)
    estimates = estimate_models(sources, settings)
    if as_json:
        print_lines(estimates)
    else:
        print(estimates_text(estimates, width=text_width()), flush=True)
    check_fit(estimates)  # after the report, which says how far off it is
