"""A rounded model as files: a GGUF file or several, or a folder."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.formats.atomic import atomic_folder
from llmkit.formats.gguf.split import GgufFile, atomic_gguf, cut_gguf
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.model_folder import MAX_SHARD_BYTES
from llmkit.model.gguf.save import CodedMatrix
from llmkit.model.save import save_config, write_weights
from llmkit.model.transformer import Transformer
from llmkit.progress import Progress
from llmkit.quant.ggml_bytes import ggml_bytes
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.plan_gguf import VERSION, file_type_number
from llmkit.workflows.convert.convert import counted, write_companions
from llmkit.workflows.quantize.container import quantised_files, written_gguf
from llmkit.workflows.quantize.job import QuantizeJob

Rounded = Mapping[str, KeptMatrix]


def planned_gguf(job: QuantizeJob) -> list[GgufFile]:
    """The GGUF files of a job, for their number and sizes: their tensors have no data.

    Raises:
        UsageError: see `cut_gguf`.
    """
    assert job.out is not None
    with torch.device("meta"):
        model = Transformer(job.source.config)
    types = {name: unit.stored_as for unit in job.plan.units for name in unit.files}
    metadata, tensors, _ = written_gguf(job.source, job.out, job.invocation).gguf(model, None, types)
    return cut_gguf({**metadata, **_type_keys(job.type)}, tensors, job.config.max_shard_bytes)


def write_rounded(
    job: QuantizeJob, rounded: Rounded, plain: Mapping[str, Tensor], progress: Progress
) -> list[str]:
    """Write the model of a job, whole or not at all.

    Args:
        job: with an output.
        rounded: the matrices of its plan.
        plain: other tensors that are not the original's, by name.
        progress: hears of bytes written.

    Returns:
        what other programs will do otherwise, a sentence each.
    """
    model = job.source.load()
    model.load_state_dict(plain, strict=False, assign=True)
    if job.container == "gguf":
        return _write_gguf(job, model, rounded, progress)
    _write_folder(job, model, rounded)
    return []


def _write_gguf(job: QuantizeJob, model: Transformer, rounded: Rounded, progress: Progress) -> list[str]:
    assert job.out is not None
    coded = {name: coded_matrix(matrices) for name, matrices in _by_tensor(rounded).items()}
    types = {name: unit.stored_as for unit in job.plan.units if unit.grid is None for name in unit.files}
    metadata, tensors, lost = written_gguf(job.source, job.out, job.invocation).gguf(model, coded, types)
    total = sum(tensor.nbytes for tensor in tensors)
    metadata = {**metadata, **_type_keys(job.type)}
    files = cut_gguf(metadata, counted(tensors, total, progress), job.config.max_shard_bytes)
    with atomic_gguf(job.out, files):
        pass
    return lost


def _type_keys(kind: str) -> dict[str, MetadataValue]:
    """What a GGUF file says of its type."""
    return {"general.file_type": Typed("u32", file_type_number(kind)), **VERSION}


def _write_folder(job: QuantizeJob, model: Transformer, rounded: Rounded) -> None:
    assert job.out is not None and job.container != "gguf"
    source = job.source
    files = quantised_files(source, job.container, job.plan)
    with atomic_folder(job.out) as folder:
        generation, extra = source.own_generation, files.config_keys()
        save_config(model, folder, dtype=files.dtype, generation=generation, extra=extra)
        tensors = files.tensors(rounded, model.state_dict())
        write_weights(tensors, folder, job.config.max_shard_bytes or MAX_SHARD_BYTES)
        write_companions(source, folder, job.invocation)


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
