"""llmkit kv-estimate: memory, speed and cost of a model from its shape alone; exit 1 when it does not fit."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.kv_estimate import flags
from llmkit.commands.shared import inputs_or_stdin
from llmkit.errors import UsageError
from llmkit.estimate.config import EstimateConfig, Unknown

Default = EstimateConfig()
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


@with_flag_groups
def kv_estimate(
    ctx: typer.Context,
    *,
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
    shape: flags.Shape,
    solve: Annotated[
        Unknown | None,
        Option(metavar="UNKNOWN", help="What --memory allows: context, batch, quant or parameters."),
    ] = Default.solve,
    speed: flags.Speed,
    train: Annotated[
        bool, Option("--train", help="Memory of training: --context a row, --batch rows at a time.")
    ] = False,
    training: flags.Training,
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
    the program itself, CUDA's context, fragmentation; nor, without its files,
    what a model has for images beside the language model.

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
    one_mode(ctx.params)
    overrides = {name: size for name, size in vars(shape).items() if size is not None}
    paths = inputs or []
    if not paths and not preset and not overrides:
        paths = inputs_or_stdin(inputs, USAGE)
    from llmkit.commands.kv_estimate.modes import print_answer
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
    asked = training if train else None
    print_answer(sources, settings, speed, asked, explain=explain, plot=plot, as_json=as_json)


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
    _needs(params, [flag.name for flag in fields(flags.Training)], ("train",))
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


def _needs(params: dict[str, Any], names: Sequence[str], modes: tuple[str, ...]) -> None:
    if any(params[mode] for mode in modes):
        return
    for name in names:
        if params[name] not in (None, False):
            raise UsageError(f"{_flag(name)} says nothing without --{modes[0]}", hint=f"add --{modes[0]}")


def _flag(name: str) -> str:
    """--no-window is the only one whose default is to be on."""
    return "--no-window" if name == "window" else f"--{name.replace('_', '-')}"
