"""Rounded matrices and the rest of a model as the tensors of a folder's files, planned or made in turn.

Shapes: N experts, R rows, C columns, G groups of a row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.formats.quantised.matrix_layout import Part
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import STORED_WORDS, kept_dtype
from llmkit.model.families.stored import How
from llmkit.model.file_names import SINUSOIDS
from llmkit.model.names import Group, groups
from llmkit.model.positions import sinusoid_table
from llmkit.quant.containers import Container, check_module, config_keys, layout_for
from llmkit.quant.grid import Grid
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.rounding import RoundedMatrix

_EMBEDDINGS = "model.embed_"
_HEAD = "lm_head.weight"
_WEIGHT = ".weight"
_PLAIN: dict[str, How] = {"same": "same", "turned": "same", "joined_turned": "joined"}
"""How a group's matrices are put together where they are not turned."""


Matrix = RoundedMatrix | KeptMatrix


class _Piece(NamedTuple):
    """A group of tensors, and the grid that its matrices are on."""

    group: Group
    grid: Grid | None


@dataclass(frozen=True)
class QuantisedFiles:
    """What the files of a quantised model hold.

    Raises:
        UsageError: the container does not hold a grid, or a group of the files would have several.
        ConfigError: it does not hold a matrix there, or of that shape.
    """

    config: ModelConfig
    shapes: Mapping[str, tuple[int, ...]]
    """Of the model's tensors, by their names in `state_dict()`."""
    grids: Mapping[str, Grid]
    """Of each matrix that is rounded, by its name; a stack of experts has one."""
    container: Container
    dtype: torch.dtype
    """Of all else."""

    def __post_init__(self) -> None:
        self.planned()

    def config_keys(self) -> dict[str, Any]:
        """What config.json says of it; see `containers.config_keys`."""
        quantised: dict[str, Grid] = {}
        kept: list[str] = []
        for group, grid in self._pieces():
            modules = [name.removesuffix(_WEIGHT) for name in group.theirs if name.endswith(_WEIGHT)]
            if grid is not None:
                quantised |= dict.fromkeys(modules, grid)
            elif len(self.shapes[group.ours[0]]) > 1 and not group.ours[0].startswith(_EMBEDDINGS):
                kept += modules
        head = groups(self.config, [_HEAD])[0].theirs[0].removesuffix(_WEIGHT)
        if self.config.tie_word_embeddings and self.container != "mlx":
            kept.append(head)  # readers see a matrix there too
        if not quantised:
            raise UsageError("no matrix is on a grid", hint="name a grid for at least one")
        return config_keys(self.container, quantised, kept, head)

    def planned(self) -> list[Part]:
        """Every tensor, under its whole name, in the order of `tensors`; nothing is made."""
        parts: list[Part] = []
        for group, grid in self._pieces():
            shapes = group.shapes([self.shapes[name] for name in group.ours])
            for name, shape in zip(group.theirs, shapes, strict=True):
                if grid is None:
                    parts.append(Part(name, STORED_WORDS[kept_dtype(name, self.dtype)], shape))
                    continue
                layout, module = layout_for(self.container, grid), name.removesuffix(_WEIGHT)
                scale = STORED_WORDS[getattr(grid, "scale_dtype", self.dtype)]
                rows, columns = shape
                parts += [
                    Part(module + part.suffix, part.dtype, part.shape)
                    for part in layout.parts(rows, columns, scale)
                ]
        if self.config.position == "sinusoidal":
            table = (self.config.max_position_embeddings, self.config.hidden_size)
            parts.append(Part(SINUSOIDS, STORED_WORDS[self.dtype], table))
        return parts

    def tensors(
        self, matrices: Mapping[str, Matrix], plain: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """The tensors, made as they are asked for.

        Args:
            matrices: all that have a grid, by name; of a stack of experts by `name[e]`.
            plain: the model's other tensors, by name.
        """
        for group, grid in self._pieces():
            if grid is None:
                packed = group.pack([plain[name] for name in group.ours])
                for name, tensor in zip(group.theirs, packed, strict=True):
                    yield name, tensor.to(kept_dtype(name, self.dtype))
            else:
                found = [_stacked(name, self.shapes[name], matrices) for name in group.ours]
                yield from self._matrices(group, grid, found)
        if self.config.position == "sinusoidal":
            table = sinusoid_table(self.config.max_position_embeddings, self.config.hidden_size)
            yield SINUSOIDS, table.to(self.dtype)

    def _matrices(
        self, group: Group, grid: Grid, found: list[dict[str, Tensor]]
    ) -> Iterator[tuple[str, Tensor]]:
        layout = layout_for(self.container, grid)
        packed = {key: group.pack([one[key] for one in found]) for key in found[0]}
        for index, name in enumerate(group.theirs):
            module = name.removesuffix(_WEIGHT)
            own = {key: tensors[index] for key, tensors in packed.items()}
            zeros = own["zero"].numpy() if "zero" in own else None
            made: dict[str, Tensor] = {
                suffix: torch.from_numpy(np.ascontiguousarray(array))
                for suffix, array in layout.write(own["codes"].numpy(), zeros).items()
            }
            scales = layout.scales
            made[scales.suffix] = own["scale"].t() if scales.turned else own["scale"]
            if scales.bases is not None:
                made[scales.bases] = own["bias"]
            rows, columns = own["codes"].shape
            for part in layout.parts(rows, columns, STORED_WORDS[own["scale"].dtype]):
                tensor = made[part.suffix]
                if part.dtype == "F8_E4M3":
                    tensor = tensor.view(torch.float8_e4m3fn)
                yield module + part.suffix, tensor.contiguous()

    def _pieces(self) -> Iterator[_Piece]:
        for group in groups(self.config, self.shapes):
            grids = {self.grids.get(name) for name in group.ours}
            if len(grids) > 1:
                names = ", ".join(sorted("plain numbers" if grid is None else grid.name for grid in grids))
                raise UsageError(
                    f"{' and '.join(group.ours)} are one matrix in {self.config.model_type} files: "
                    f"they cannot have several grids (given: {names})",
                    hint="the same grid for all of them",
                )
            grid = grids.pop()
            if grid is None:
                yield _Piece(group, None)
                continue
            for module in group.theirs:
                check_module(
                    self.container,
                    module.removesuffix(_WEIGHT),
                    group.how,
                    embedding=group.ours[0].startswith(_EMBEDDINGS),
                    head=group.ours[0] == _HEAD,
                )
            yield _Piece(replace(group, how=_PLAIN.get(group.how, group.how)), grid)


def _stacked(name: str, shape: tuple[int, ...], matrices: Mapping[str, Matrix]) -> dict[str, Tensor]:
    """What a file keeps of a matrix, or of all of a stack, (N, R, ...): the codes and all beside them."""
    if len(shape) == 2:
        return _kept(matrices[name])
    parts = [_kept(matrices[f"{name}[{expert}]"]) for expert in range(shape[0])]
    return {key: torch.stack([part[key] for part in parts]) for key in parts[0]}


def _kept(matrix: Matrix) -> dict[str, Tensor]:
    return {"codes": matrix.codes, **matrix.fitted.stored}
