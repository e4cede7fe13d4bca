"""Flags that the subcommands of `llmkit eval` share: the model, records, gates."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from llmkit.commands.sampling_flags import Device, DtypeName, KernelsName, Threads, WeightsName
from llmkit.commands.shared import print_report
from llmkit.engine.config import GenerateConfig, KVDtype

if TYPE_CHECKING:
    from llmkit.workflows.eval.scorer import ModelOptions

# The model

Model = Annotated[Path, Argument(metavar="MODEL", help="Model folder or GGUF file.")]
Batch = Annotated[
    int | None,
    Option(
        "--batch", min=1, metavar="N", help="Texts at work at once.", show_default="16, or what memory allows"
    ),
]


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a model runs, and where: flags of one name each."""

    adapter: Annotated[
        str | None,
        Option("--adapter", metavar="PATH[:X]", help="A PEFT folder beside the model, X as strong."),
    ] = None
    dtype: DtypeName = GenerateConfig.dtype
    kv_dtype: Annotated[KVDtype, Option("--kv-dtype", help="Of the cache; auto: as --dtype.")] = (
        GenerateConfig.kv_dtype
    )
    rope_scaling: Annotated[
        str | None,
        Option("--rope-scaling", metavar="TYPE:X", help="yarn:4, linear, …", show_default="the model's"),
    ] = GenerateConfig.rope_scaling
    kernels: KernelsName = GenerateConfig.kernels
    weights: WeightsName = GenerateConfig.weights
    device: Device = GenerateConfig.device
    threads: Threads = GenerateConfig.threads


AS_STORED = Running()

# Texts

Inputs = Annotated[
    list[Path] | None,
    Argument(metavar="[FILE]...", help="Text, documents, folders; - is stdin."),
]
Field = Annotated[str, Option("--field", metavar="KEY", help="The key that holds a record's text.")]

# Results and gates

PerRecord = Annotated[
    Path | None,
    Option("--per-record", metavar="FILE", help="A line for each record; continued after a stop."),
]
Baseline = Annotated[
    Path | None,
    Option("--baseline", metavar="FILE", help="An earlier --json; exit 1 when worse beyond noise."),
]
FailAbove = Annotated[
    float | None, Option("--fail-above", metavar="X", help="Exit 1 when the figure is above.")
]


def show_plan(evaluate: Callable[[], Any], *, as_json: bool) -> None:
    """Print what an evaluation would take; its model's options have `plans`."""
    from llmkit.commands.eval.plan_text import eval_plan_text
    from llmkit.workflows.eval.plan import plan_eval

    print_report(plan_eval(evaluate), as_json, eval_plan_text)


def model_options(model: Path, running: Running = AS_STORED, **given: Any) -> "ModelOptions":
    """Flags as the options of `open_scorer`."""
    from llmkit.workflows.eval.scorer import ModelOptions

    return ModelOptions(model=model, **vars(running), **given)
