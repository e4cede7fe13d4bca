"""llmkit kv-estimate: memory, speed and cost of a model from its shape alone; exit 1 when it does not fit."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from llmkit.commands.kv_estimate import flags
from llmkit.commands.shared import inputs_or_stdin
from llmkit.commands.values import parse_count
from llmkit.errors import UsageError
from llmkit.estimate.config import EstimateConfig, Unknown

Default = EstimateConfig()
SHAPE_FLAGS = (
    *("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_size"),
    *("intermediate_size", "vocab_size", "tie_word_embeddings"),
)
TRAINING_FLAGS = (
    *("optimizer", "precision", "zero", "data_parallel", "pipeline_parallel", "micro_batches"),
    *("recompute", "sequence_parallel", "lora_rank"),
)
SPEED_FLAGS = (
    "prompt",
    "mfu",
    "mbu",
    "calibrate",
    "price_per_hour",
    "prices",
    "utilisation",
    "users",
    "rate",
)
UNREAD = {
    "train": ("dtype", "kv_dtype", "block_size", "shared_prefix", "window", "prefill_chunk"),
    "explain": ("prefill_chunk",),
}
"""Flags of memory in use that other questions do not read."""
COMPANIONS = {
    "qlora": ("lora_rank",),
    "sequence_parallel": ("tensor_parallel",),
    "micro_batches": ("pipeline_parallel",),
    "zero": ("data_parallel",),
    "utilisation": ("price_per_hour", "prices", "users"),
    "concurrency": ("users",),
}
"""Flags that change nothing without another: one of these."""
USAGE = "llmkit kv-estimate config.json"


def kv_estimate(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        Argument(metavar="PATH...", help="config.json, its folder, or a GGUF file; - is stdin."),
    ] = None,
    preset: flags.Preset = None,
    context: flags.Context = Default.context,
    batch: flags.Batch = Default.batch,
    memory: flags.Memory = Default.memory_bytes,
    dtype: flags.Weights = Default.dtype,
    kv_dtype: flags.KVCache = Default.kv_dtype,
    tensor_parallel: flags.TensorParallel = Default.tensor_parallel,
    block_size: flags.BlockSize = Default.block_size,
    shared_prefix: flags.SharedPrefix = Default.shared_prefix,
    window: flags.Window = Default.window,
    prefill_chunk: flags.PrefillChunk = Default.prefill_chunk,
    num_hidden_layers: flags.Layers = None,
    num_attention_heads: flags.Heads = None,
    num_key_value_heads: flags.KVHeads = None,
    head_dim: flags.HeadDim = None,
    hidden_size: flags.HiddenSize = None,
    intermediate_size: flags.IntermediateSize = None,
    vocab_size: flags.VocabSize = None,
    tie_word_embeddings: flags.Tied = None,
    solve: Annotated[
        Unknown | None,
        Option(metavar="UNKNOWN", help="What --memory allows: context, batch, quant or parameters."),
    ] = Default.solve,
    device: flags.DeviceName = None,
    devices: flags.DeviceTable = None,
    measure: flags.Measure = False,
    prompt: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Tokens of a prompt; default: --context.")
    ] = None,
    mfu: flags.Mfu = None,
    mbu: flags.Mbu = None,
    calibrate: flags.Calibrate = None,
    price_per_hour: flags.PricePerHour = None,
    prices: flags.PriceTable = None,
    utilisation: flags.Utilisation = None,
    users: flags.Users = None,
    rate: flags.Rate = None,
    concurrency: flags.Concurrency = None,
    train: Annotated[
        bool, Option("--train", help="Memory of training: --context a row, --batch rows at a time.")
    ] = False,
    optimizer: flags.OptimizerName = None,
    precision: flags.PrecisionName = None,
    zero: flags.Zero = None,
    data_parallel: flags.DataParallel = None,
    pipeline_parallel: flags.PipelineParallel = None,
    micro_batches: flags.MicroBatches = None,
    recompute: flags.RecomputeName = None,
    sequence_parallel: flags.SequenceParallel = None,
    lora_rank: flags.LoraRank = None,
    qlora: flags.QLora = False,
    explain: Annotated[bool, Option("--explain", help="Every formula with its numbers and source.")] = False,
    plot: Annotated[bool, Option("--plot", help="Memory against context, drawn.")] = False,
    as_json: Annotated[bool, Option("--json", help="A JSON object a model.")] = False,
) -> None:
    """Say what memory, time and money a model takes, from its shape alone.

    Several models make a table. Flags of a shape change a model that is named,
    and need none: --layers, --kv-heads and --head-dim make a KV cache; with
    --heads, --hidden-size, --intermediate-size and --vocab-size, a Llama-shaped
    model. Bytes are those of one device. Weights and cache are exact;
    activations, and times at less than the bound, are estimates. Not counted:
    the program itself, CUDA's context, fragmentation.

    \b
    Examples:
      llmkit kv-estimate config.json --context 8k --batch 16 --memory 24GiB
      llmkit kv-estimate run --json
      llmkit kv-estimate --preset llama-3.2-1b --preset qwen3-0.6b -c 32k
      llmkit kv-estimate --preset llama-2-7b --dtype q4_k_m --kv-dtype q8_0
      llmkit kv-estimate --layers 32 --kv-heads 8 --head-dim 128 -c 128k
      llmkit kv-estimate --preset llama-2-7b --memory 24GiB --solve context
      llmkit kv-estimate --preset llama-2-7b --memory 6GiB -c 4k --solve quant
      llmkit kv-estimate --preset llama-2-7b --device h100 --price-per-hour 2.5
      llmkit kv-estimate --preset llama-2-7b --prices prices.toml
      llmkit kv-estimate --preset llama-2-7b --train --zero 3 --data-parallel 8
      llmkit kv-estimate --preset llama-3.2-1b -c 8k --explain
    """
    overrides = {name: ctx.params[name] for name in SHAPE_FLAGS if ctx.params[name] is not None}
    training = {name: ctx.params[name] for name in TRAINING_FLAGS if ctx.params[name] is not None}
    one_mode(ctx.params)
    paths = inputs or []
    if not paths and not preset and not overrides:
        paths = inputs_or_stdin(inputs, USAGE)
    from llmkit.commands.kv_estimate.modes import (
        print_estimates,
        print_explanations,
        print_plots,
        print_solutions,
        print_speeds,
        print_training,
    )
    from llmkit.workflows.kv_estimate.models import ModelSources

    settings = EstimateConfig(
        context=context,
        batch=batch,
        dtype=dtype,
        kv_dtype=kv_dtype,
        memory_bytes=memory,
        tensor_parallel=tensor_parallel,
        block_size=block_size,
        shared_prefix=shared_prefix,
        window=window,
        prefill_chunk=prefill_chunk,
        solve=solve,
    )
    sources = ModelSources(paths=tuple(paths), presets=tuple(preset or ()), overrides=overrides)
    if solve is not None:
        print_solutions(sources, settings, as_json=as_json)
    elif train:
        print_training(sources, settings, training, qlora=qlora, as_json=as_json)
    elif explain:
        print_explanations(sources, settings, as_json=as_json)
    elif plot:
        print_plots(sources, settings)
    elif device is not None or measure or prices is not None:
        print_speeds(sources, settings, ctx.params, as_json=as_json)
    else:
        print_estimates(sources, settings, as_json=as_json)


def one_mode(params: dict[str, Any]) -> None:
    """Refuse flags that ask for two answers, or that the one asked for does not read.

    Raises:
        UsageError: names them.
    """
    chosen = [
        f"--{name}" for name in ("solve", "train", "explain", "plot", "device", "measure") if params[name]
    ]
    if params["prices"] and not (params["device"] or params["measure"]):
        chosen.append("--prices")  # of all devices that it names
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} are two questions", hint="ask one at a time")
    if params["plot"] and params["as_json"]:
        raise UsageError("a plot is no JSON", hint="llmkit kv-estimate … -c 8k --json, for one context")
    _needs(params, (*TRAINING_FLAGS, "qlora"), ("train",))
    _needs(params, SPEED_FLAGS, ("device", "measure", "prices"))
    _needs(params, ("devices",), ("device", "prices"))
    for mode, names in UNREAD.items():
        for name in names if params[mode] else ():
            if params[name] != getattr(Default, name):
                raise UsageError(f"{_flag(name)} says nothing to --{mode}", hint=f"leave out {_flag(name)}")
    for name, others in COMPANIONS.items():
        if params[name] and all(params[other] in (None, 1) for other in others):
            wanted = " or ".join(map(_flag, others))
            raise UsageError(f"{_flag(name)} says nothing without {wanted}", hint=f"add {wanted}")
    if params["price_per_hour"] is not None and params["prices"] is not None:
        raise UsageError("--price-per-hour and --prices both say a price", hint="leave out one of them")
    if params["rate"] is not None and params["users"] is None:
        raise UsageError("--rate is each user's, and --users is not given", hint="--users 1000 --rate 20")


def _needs(params: dict[str, Any], names: tuple[str, ...], modes: tuple[str, ...]) -> None:
    if any(params[mode] for mode in modes):
        return
    for name in names:
        if params[name] not in (None, False):
            raise UsageError(f"{_flag(name)} says nothing without --{modes[0]}", hint=f"add --{modes[0]}")


def _flag(name: str) -> str:
    """--no-window is the only one whose default is to be on."""
    return "--no-window" if name == "window" else f"--{name.replace('_', '-')}"
