"""The files that rounded weights go into: their plans, and they themselves."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.errors import UsageError, nearest
from llmkit.formats.atomic import atomic_folder
from llmkit.formats.gguf.split import GgufFile, atomic_gguf, cut_gguf
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.model_folder import MAX_SHARD_BYTES
from llmkit.formats.provenance import Invocation
from llmkit.formats.safetensors_size import TensorShape, safetensors_nbytes
from llmkit.model.dtypes import dtype_of
from llmkit.model.gguf.save import CodedMatrix
from llmkit.model.save import save_config, write_weights
from llmkit.model.transformer import Transformer
from llmkit.progress import Progress
from llmkit.quant.container_tensors import QuantisedFiles
from llmkit.quant.containers import Container as FolderContainer
from llmkit.quant.containers import container_grid
from llmkit.quant.ggml_bytes import ggml_bytes
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grid import Grid
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.plan import FALLBACK, QuantPlan, Stored, Wishes
from llmkit.quant.plan_folder import folder_plan
from llmkit.quant.plan_gguf import PLAIN_TYPES, VERSION, file_type_number, gguf_plan
from llmkit.workflows.convert.convert import counted, write_companions
from llmkit.workflows.convert.plan import Written
from llmkit.workflows.convert.source import ConvertSource
from llmkit.workflows.quantize.options import Container, QuantizeConfig

Rounded = Mapping[str, KeptMatrix]


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
        metadata, _, _ = _written(source, Path("model.gguf"), invocation).gguf(model)
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
    parts = _files(source, container, plan).planned()
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


def planned_gguf(
    source: ConvertSource,
    out: Path,
    kind: str,
    plan: QuantPlan,
    max_shard_bytes: int | None,
    invocation: Invocation,
) -> list[GgufFile]:
    """The files of a GGUF model, for their number and sizes: their tensors have no data.

    Raises:
        UsageError: see `cut_gguf`.
    """
    with torch.device("meta"):
        model = Transformer(source.config)
    types = {name: unit.stored_as for unit in plan.units for name in unit.files}
    metadata, tensors, _ = _written(source, out, invocation).gguf(model, None, types)
    return cut_gguf({**metadata, **_named(kind)}, tensors, max_shard_bytes)


def write_files(
    source: ConvertSource,
    out: Path,
    container: Container,
    kind: str,
    plan: QuantPlan,
    rounded: Rounded,
    plain: Mapping[str, Tensor],
    max_shard_bytes: int | None,
    invocation: Invocation,
    progress: Progress,
) -> list[str]:
    """Write a model, whole or not at all.

    Args:
        source: the original.
        out: where.
        container: the kind of files.
        kind: the file type, told in a GGUF file.
        plan: of the files.
        rounded: the matrices of the plan.
        plain: other tensors that are not the original's, by name.
        max_shard_bytes: see `QuantizeConfig`.
        invocation: told in the files.
        progress: hears of bytes written.

    Returns:
        what other programs will do otherwise, a sentence each.
    """
    model = source.load()
    model.load_state_dict(plain, strict=False, assign=True)
    if container == "gguf":
        return _write_gguf(source, model, out, kind, plan, rounded, max_shard_bytes, invocation, progress)
    _write_folder(source, model, out, container, plan, rounded, max_shard_bytes, invocation)
    return []


def _write_gguf(
    source: ConvertSource,
    model: Transformer,
    out: Path,
    kind: str,
    plan: QuantPlan,
    rounded: Rounded,
    max_shard_bytes: int | None,
    invocation: Invocation,
    progress: Progress,
) -> list[str]:
    coded = {name: coded_matrix(matrices) for name, matrices in _by_tensor(rounded).items()}
    types = {name: unit.stored_as for unit in plan.units if unit.grid is None for name in unit.files}
    metadata, tensors, lost = _written(source, out, invocation).gguf(model, coded, types)
    total = sum(tensor.nbytes for tensor in tensors)
    files = cut_gguf({**metadata, **_named(kind)}, counted(tensors, total, progress), max_shard_bytes)
    with atomic_gguf(out, files):
        pass
    return lost


def _named(kind: str) -> dict[str, MetadataValue]:
    """What a file says of its type."""
    return {"general.file_type": Typed("u32", file_type_number(kind)), **VERSION}


def _write_folder(
    source: ConvertSource,
    model: Transformer,
    out: Path,
    container: FolderContainer,
    plan: QuantPlan,
    rounded: Rounded,
    max_shard_bytes: int | None,
    invocation: Invocation,
) -> None:
    files = _files(source, container, plan)
    with atomic_folder(out) as folder:
        generation, extra = source.own_generation, files.config_keys()
        save_config(model, folder, dtype=files.dtype, generation=generation, extra=extra)
        tensors = files.tensors(rounded, model.state_dict())
        write_weights(tensors, folder, max_shard_bytes or MAX_SHARD_BYTES)
        write_companions(source, folder, invocation)


def coded_matrix(matrices: list[KeptMatrix]) -> CodedMatrix:
    """A matrix, or a stack of them, as a GGUF file keeps it."""
    first = matrices[0]

    def parts() -> dict[str, Tensor]:
        made = [{"codes": one.codes, **one.fitted.stored} for one in matrices]
        if len(made) == 1:
            return made[0]
        return {key: torch.stack([one[key] for one in made]) for key in made[0]}

    def encode(found: Mapping[str, Tensor]) -> NDArray[np.uint8]:
        stacked = found["codes"].dim() == 3
        flat = {key: part.flatten(0, 1) if stacked else part for key, part in found.items()}
        return ggml_bytes(first.grid.name, flat, flat.pop("codes"))

    return CodedMatrix(first.grid.name, parts, encode)


def _by_tensor(rounded: Rounded) -> dict[str, list[KeptMatrix]]:
    """The matrices of each tensor of `state_dict()`: one, or those of a stack in their order."""
    found: dict[str, list[KeptMatrix]] = {}
    for name, matrix in rounded.items():
        found.setdefault(name.partition("[")[0], []).append(matrix)
    return found


def _files(source: ConvertSource, container: FolderContainer, plan: QuantPlan) -> QuantisedFiles:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Transformer(source.config).state_dict().items()}
    return QuantisedFiles(source.config, shapes, plan.grids, container, dtype_of(source.config))


def _written(source: ConvertSource, out: Path, invocation: Invocation) -> Written:
    return Written(source, out, "gguf", "float16", 0, invocation)  # the plan has the type of every tensor


def _wishes(source: ConvertSource, container: Container, config: QuantizeConfig) -> Wishes:
    def stored(name: str) -> Stored:
        return stored_of(source, container, name)

    return Wishes(
        embeddings=None if config.embeddings is None else stored(config.embeddings),
        head=None if config.head is None else stored(config.head),
        tensors=[(pattern, stored(name)) for pattern, name in config.overrides],
    )
