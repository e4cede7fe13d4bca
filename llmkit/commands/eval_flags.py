"""Flags that the subcommands of `llmkit eval` share: the model, records, gates."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from llmkit.engine.config import Dtype, Kernels, KVDtype, Weights

if TYPE_CHECKING:
    from llmkit.workflows.eval_open import ModelOptions

# The model

Model = Annotated[Path, Argument(metavar="MODEL", help="Model folder or GGUF file.")]
TokenizerPath = Annotated[
    Path | None, Option("--tokenizer", "-t", metavar="PATH", help="If the model's folder has none.")
]
AdapterName = Annotated[
    str | None, Option("--adapter", metavar="PATH[:X]", help="A PEFT folder beside the model, X as strong.")
]
DtypeName = Annotated[Dtype, Option("--dtype", help="Of weights and arithmetic; auto: as stored.")]
KVDtypeName = Annotated[KVDtype, Option("--kv-dtype", help="Of the cache; auto: as --dtype.")]
RopeScaling = Annotated[
    str | None,
    Option("--rope-scaling", metavar="TYPE:X", help="yarn:4, linear, …", show_default="the model's"),
]
KernelsName = Annotated[Kernels, Option("--kernels", help="What computes; auto: ours where they can.")]
WeightsName = Annotated[Weights, Option("--weights", help="Round the weights to 8 or 4 bits.")]
Device = Annotated[str, Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N.")]
Threads = Annotated[
    int | None,
    Option("--threads", min=1, metavar="N", help="Cores to use.", show_default="by the model's size"),
]
Batch = Annotated[
    int | None,
    Option(
        "--batch", min=1, metavar="N", help="Texts at work at once.", show_default="16, or what memory allows"
    ),
]

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


def model_options(model: Path, **given: Any) -> "ModelOptions":
    """Flags as the options of `open_scorer`."""
    from llmkit.workflows.eval_open import ModelOptions

    return ModelOptions(model=model, **given)
