"""What a container makes of a model: the plan of its files, and the grids that it holds."""

from dataclasses import replace
from pathlib import Path

import torch

from llmkit.errors import UsageError, nearest
from llmkit.formats.model_folder import MAX_SHARD_BYTES
from llmkit.formats.provenance import Invocation
from llmkit.formats.safetensors_size import TensorShape, safetensors_nbytes
from llmkit.model.dtypes import dtype_of
from llmkit.model.transformer import Transformer
from llmkit.quant.container_tensors import QuantisedFiles
from llmkit.quant.containers import Container as FolderContainer
from llmkit.quant.containers import container_grid
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grid import Grid
from llmkit.quant.plan import FALLBACK, QuantPlan, Stored, Wishes
from llmkit.quant.plan_folder import folder_plan
from llmkit.quant.plan_gguf import PLAIN_TYPES, gguf_plan
from llmkit.workflows.convert.plan import Written
from llmkit.workflows.convert.source import ConvertSource
from llmkit.workflows.quantize.options import Container, QuantizeConfig


def plan_files(
    source: ConvertSource,
    container: Container,
    kind: str,
    config: QuantizeConfig,
    invocation: Invocation,
    *,
    weighed: bool,
) -> QuantPlan:
    """What becomes of every tensor, with the size of the files.

    Args:
        source: the model.
        container: what is written.
        kind: the file type or grid of most matrices.
        config: what was asked for beside.
        invocation: told in a GGUF file.
        weighed: whether there is calibration text.

    Raises:
        UsageError, ConfigError: see `gguf_plan`, `folder_plan` and `Wishes.apply`.
    """
    with torch.device("meta"):
        model = Transformer(source.config)
    if container == "gguf":
        metadata, _, _ = written_gguf(source, Path("model.gguf"), invocation).gguf(model)
        plan = gguf_plan(model, kind, imatrix=weighed, metadata=metadata)
    else:
        dtype = dtype_of(source.config)
        plan = folder_plan(model, container, container_grid(container, kind, dtype), dtype=dtype)
    wished = _wishes(source, container, config).apply(plan)
    return measured(source, container, wished, config.max_shard_bytes)


def check_rounds(container: Container, kind: str, plan: QuantPlan) -> None:
    """Refuse to write a folder in which nothing is rounded: its readers take it for damaged.

    Args:
        container: what is written.
        kind: the grid of most matrices.
        plan: of `plan_files`.

    Raises:
        UsageError: no matrix has a grid, with the reason of the first.
    """
    if container == "gguf" or any(unit.grid is not None for unit in plan.units):
        return
    reasons = [unit.reason for unit in plan.units if unit.reason.startswith(FALLBACK)]
    why = f": {reasons[0].removeprefix(FALLBACK)}" if reasons else ""
    raise UsageError(
        f"{kind} fits no matrix in {container} files{why}",
        hint="a smaller --group that divides the rows, or another --format",
    )


def measured(
    source: ConvertSource, container: Container, plan: QuantPlan, max_shard_bytes: int | None = None
) -> QuantPlan:
    """The plan with what files have beside their tensors, which depends on how these are kept.

    Of a model in several files the headers of all but the first are not counted.
    """
    if container == "gguf":
        return plan  # types are numbers there: all plans have one header
    parts = quantised_files(source, container, plan).planned()
    shapes = [TensorShape(part.suffix, part.dtype, part.shape) for part in parts]
    tensors = sum(unit.nbytes for unit in plan.units)
    if tensors > (max_shard_bytes or MAX_SHARD_BYTES):
        return plan  # several files, and an index that is not counted
    return replace(plan, rest_nbytes=safetensors_nbytes(shapes) - tensors)


def grid_of(source: ConvertSource, container: Container, name: str) -> Grid:
    """A grid by its name, as the container holds it.

    Raises:
        UsageError: there is none of this name, or the container does not hold it.
    """
    if container != "gguf":
        return container_grid(container, name, dtype_of(source.config))
    grid = GGML_GRIDS.get(name.upper())
    if grid is None:
        known = (*GGML_GRIDS, *PLAIN_TYPES)
        close = nearest(name.upper(), known)
        raise UsageError(
            f"{name} is no type of GGUF files",
            hint=f"did you mean {close}?" if close else f"one of {', '.join(known)}",
        )
    return grid


def stored_of(source: ConvertSource, container: Container, name: str) -> Stored:
    """What a matrix may be stored as by a name: a grid, or in GGUF files plain numbers.

    Raises:
        UsageError: see `grid_of`.
    """
    if container == "gguf" and name.upper() in PLAIN_TYPES:
        return name.upper()
    return grid_of(source, container, name)


def quantised_files(source: ConvertSource, container: FolderContainer, plan: QuantPlan) -> QuantisedFiles:
    """The tensors of a folder of a plan."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Transformer(source.config).state_dict().items()}
    return QuantisedFiles(source.config, shapes, plan.grids, container, dtype_of(source.config))


def written_gguf(source: ConvertSource, out: Path, invocation: Invocation) -> Written:
    """What a GGUF file takes over from the model."""
    return Written(source, out, "gguf", "float16", 0, invocation)  # the plan has the type of every tensor


def _wishes(source: ConvertSource, container: Container, config: QuantizeConfig) -> Wishes:
    def stored(name: str) -> Stored:
        return stored_of(source, container, name)

    return Wishes(
        embeddings=None if config.embeddings is None else stored(config.embeddings),
        head=None if config.head is None else stored(config.head),
        tensors=[(pattern, stored(name)) for pattern, name in config.overrides],
    )
