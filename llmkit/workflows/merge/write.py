"""A model's folder written group by group: each group of tensors is made when its turn comes, and forgotten.

Memory is that of as many groups as there are threads, not that of a file. The bytes depend on neither.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.formats.json_text import json_text
from llmkit.formats.model_folder import INDEX, WEIGHTS
from llmkit.formats.safetensors_write import Planned, write_safetensors
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import STORED_WORDS, kept_dtype
from llmkit.model.file_names import SINUSOIDS
from llmkit.model.names import Group, groups
from llmkit.model.positions import sinusoid_table
from llmkit.progress import SILENT, Progress
from llmkit.quant.workers import Workers

Make = Callable[[Sequence[str]], Mapping[str, Tensor]]
"""From our names of a group to its tensors, float32; called from any thread, once or more."""


@dataclass(frozen=True)
class FileTensor:
    """One tensor of the files."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    ours: tuple[str, ...]
    """The model's tensors that it holds, or holds a part of; none of a table that can be computed."""

    @property
    def nbytes(self) -> int:
        """Of its numbers."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True)
class FolderPlan:
    """The tensors of a model's files, in order, and the files."""

    config: ModelConfig
    groups: list[Group]
    tensors: list[FileTensor]
    shards: list[list[FileTensor]]

    @property
    def nbytes(self) -> int:
        """Of all numbers; the files' headers come on top."""
        return sum(one.nbytes for one in self.tensors)


def plan_folder(
    config: ModelConfig, shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, max_shard_bytes: int
) -> FolderPlan:
    """What the files will hold.

    Args:
        config: of the model.
        shapes: of its tensors, by our names.
        dtype: of the weights.
        max_shard_bytes: of the tensors in a file; a larger tensor has one to itself.
    """
    kept = groups(config, shapes)
    tensors = []
    for group in kept:
        packed = group.shapes([shapes[name] for name in group.ours])
        for name, shape in zip(group.theirs, packed, strict=True):
            tensors.append(FileTensor(name, kept_dtype(name, dtype), shape, group.ours))
    if config.position == "sinusoidal":
        table = (config.max_position_embeddings, config.hidden_size)
        tensors.append(FileTensor(SINUSOIDS, dtype, table, ()))
    shards: list[list[FileTensor]] = [[]]
    filled = 0
    for one in tensors:
        if shards[-1] and filled + one.nbytes > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(one)
        filled += one.nbytes
    return FolderPlan(config, kept, tensors, shards)


def write_folder(
    plan: FolderPlan, folder: Path, make: Make, workers: Workers, threads: int, progress: Progress = SILENT
) -> None:
    """Write model.safetensors, or several files and an index.

    Args:
        plan: see `plan_folder`.
        folder: exists.
        make: the tensors of a group.
        workers: entered; computes `threads` groups at once.
        threads: of them.
        progress: hears of bytes.

    Raises:
        DataError: a number is beyond the dtype.
    """
    made = _Made(plan.groups, make, workers, threads)
    weight_map: dict[str, str] = {}
    done = 0
    for number, shard in enumerate(plan.shards, start=1):
        file = WEIGHTS
        if len(plan.shards) > 1:
            file = f"model-{number:05d}-of-{len(plan.shards):05d}.safetensors"

        def parts(one: FileTensor) -> Iterator[memoryview]:
            nonlocal done
            yield _bytes(made.tensor(one) if one.ours else _table(plan.config, one))
            done += one.nbytes
            progress.update(done, plan.nbytes)

        planned = [
            Planned(one.name, STORED_WORDS[one.dtype], one.shape, lambda one=one: parts(one))  # type: ignore[misc]
            for one in shard
        ]
        with (folder / file).open("wb") as stream:
            write_safetensors(stream, planned, {"format": "pt"})
        weight_map |= dict.fromkeys((one.name for one in shard), file)
    if len(plan.shards) > 1:
        numbers = sum(torch.Size(one.shape).numel() for one in plan.tensors)
        sizes = {"total_size": plan.nbytes, "total_parameters": numbers}
        content = {"metadata": sizes, "weight_map": dict(sorted(weight_map.items()))}
        (folder / INDEX).write_bytes(json_text(content))


@dataclass
class _Made:
    """The groups that are made: those of one window, the first of which was asked for last."""

    groups: list[Group]
    make: Make
    workers: Workers
    threads: int
    _window: dict[tuple[str, ...], dict[str, Tensor]] = field(default_factory=dict)

    def tensor(self, one: FileTensor) -> Tensor:
        if one.ours not in self._window:
            self._window = {}  # before the next ones are made: both together would be twice the memory
            begin = next(at for at, group in enumerate(self.groups) if group.ours == one.ours)
            ahead = self.groups[begin : begin + self.threads]
            packed = self.workers.map(self._packed, ahead)
            self._window = {group.ours: tensors for group, tensors in zip(ahead, packed, strict=True)}
        tensors = self._window[one.ours]
        return _rounded(one, tensors[one.name])

    def _packed(self, group: Group) -> dict[str, Tensor]:
        ours = self.make(group.ours)
        return dict(zip(group.theirs, group.pack([ours[name] for name in group.ours]), strict=True))


def _rounded(one: FileTensor, tensor: Tensor) -> Tensor:
    rounded = tensor.to(one.dtype)
    if rounded.numel() and not torch.stack(rounded.aminmax()).isfinite().all():
        largest, dtype = tensor.abs().max().item(), str(one.dtype).removeprefix("torch.")
        raise DataError(
            f"{one.name} becomes {largest:.6g}, beyond {dtype}'s {torch.finfo(one.dtype).max:.6g}",
            hint="--dtype bfloat16 or float32" if dtype == "float16" else "give smaller weights or scales",
        )
    return rounded


def _table(config: ModelConfig, one: FileTensor) -> Tensor:
    return sinusoid_table(config.max_position_embeddings, config.hidden_size).to(one.dtype)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
