"""What becomes of every tensor of a model: which matrices go on which grid, what stays, and the bytes of all.

A unit is what has one grid: tensors of the model that a file keeps as one, or that readers want alike.
`plan_gguf.py` and `plan_folder.py` make plans of the two kinds of files.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from llmkit.errors import UsageError, some_of
from llmkit.quant.budget import Choice
from llmkit.quant.grid import Grid

Shape = tuple[int, ...]
Stored = Grid | str
"""What a tensor is stored as: a grid, or a dtype's name as the file has it."""
Measure = Callable[[Shape, Stored], int]
"""Bytes of one tensor of a file, by its shape and what it is stored as. Padding and all that stands beside
the codes are counted."""


@dataclass(frozen=True)
class PlanUnit:
    """Tensors that share a fate."""

    names: tuple[str, ...]
    """As in `state_dict()`."""
    files: Mapping[str, Shape]
    """The file's tensors that hold them, in torch's shapes."""
    layer: int | None
    """None: outside the layers."""
    kind: str
    """The module's own name: q_proj, experts.down_proj, embed_tokens, …"""
    parameters: int
    grid: Grid | None
    """None: it stays in numbers of a dtype."""
    stored_as: str
    """The grid's name, or the dtype's."""
    nbytes: int
    """In the file."""
    reason: str
    """Why so, where that is no matter of course."""
    can_round: bool = True
    """Whether it is made of matrices that a grid may be laid over."""
    order: tuple[int, ...] | None = None
    """Of each column of a file's matrix the one of the model's; None: they are the same."""

    @property
    def name(self) -> str:
        """Of the first tensor."""
        return self.names[0]

    @property
    def bits(self) -> float:
        """Of a weight, everything counted."""
        return 8 * self.nbytes / self.parameters

    @property
    def columns(self) -> tuple[int, ...]:
        """Row lengths of the file's tensors."""
        return tuple(shape[-1] for shape in self.files.values())


@dataclass(frozen=True)
class QuantPlan:
    """Every tensor, in the model's order."""

    units: tuple[PlanUnit, ...]
    measure: Measure
    rest_nbytes: int = 0
    """Of the file beside the units: header, metadata, tables."""

    @property
    def grids(self) -> dict[str, Grid]:
        """Of each tensor that is rounded, by its name in `state_dict()`."""
        return {name: unit.grid for unit in self.units if unit.grid is not None for name in unit.names}

    @property
    def orders(self) -> dict[str, Tensor]:
        """Of each tensor whose columns stand elsewhere in the file, by its name: see `PlanUnit.order`."""
        return {name: torch.tensor(unit.order) for unit in self.units if unit.order for name in unit.names}

    @property
    def nbytes(self) -> int:
        """Of the file."""
        return self.rest_nbytes + sum(unit.nbytes for unit in self.units)

    @property
    def parameters(self) -> int:
        """Of the model, each counted once."""
        return sum(unit.parameters for unit in self.units)

    @property
    def bits_per_weight(self) -> float:
        """Of all tensors, those included that stay: what llama.cpp calls a model's BPW."""
        return 8 * sum(unit.nbytes for unit in self.units) / self.parameters

    @property
    def open_units(self) -> tuple[PlanUnit, ...]:
        """Those with a grid, whose grids a budget may choose."""
        return tuple(unit for unit in self.units if unit.grid is not None)

    @property
    def fixed_nbytes(self) -> int:
        """Of the file without its open units."""
        return self.rest_nbytes + sum(unit.nbytes for unit in self.units if unit.grid is None)

    def spare_for_file(self, nbytes: int) -> int:
        """Bytes for the open units in a file of so many."""
        return nbytes - self.fixed_nbytes

    def spare_for_bits(self, bits_per_weight: float) -> int:
        """Bytes for the open units of a model with so many `bits_per_weight`."""
        return int(bits_per_weight * self.parameters / 8) - (self.fixed_nbytes - self.rest_nbytes)

    def grids_for(self, unit: PlanUnit, grids: Sequence[Grid]) -> list[Grid]:
        """Those whose blocks divide the unit's rows."""
        return [grid for grid in grids if not any(columns % grid.block for columns in unit.columns)]

    def choices(self, unit: PlanUnit, losses: Mapping[Grid, float]) -> list[Choice]:
        """What a budget chooses from, given the loss on each grid."""
        return [Choice(grid.name, self._nbytes(unit, grid), loss) for grid, loss in losses.items()]

    def smallest(self, work: Iterable[tuple[PlanUnit, Sequence[Grid]]]) -> "QuantPlan":
        """The plan with the smallest grid for each unit, of those that it may have."""
        least = {unit.name: min(grids, key=partial(self._nbytes, unit)) for unit, grids in work if grids}
        return self.with_grids(least, "the smallest")

    def with_grids(self, grids: Mapping[str, Stored], reason: str) -> "QuantPlan":
        """The plan with other grids for some units, or with none.

        Args:
            grids: by the units' names; a dtype's name for plain numbers.
            reason: why.

        Raises:
            UsageError: a grid's blocks do not divide a unit's rows, or there is no such unit to be rounded.
        """
        known = {unit.name for unit in self.units if unit.can_round}
        if unknown := sorted(set(grids) - known):
            raise UsageError(f"no matrix {some_of(unknown)} to round", hint="see the plan: --dry-run")
        units = tuple(
            self._rounded(unit, grids[unit.name], reason) if unit.name in grids else unit
            for unit in self.units
        )
        return replace(self, units=units)

    def _rounded(self, unit: PlanUnit, stored: Stored, reason: str) -> PlanUnit:
        grid = None if isinstance(stored, str) else stored
        if grid is not None and not self.grids_for(unit, [grid]):
            raise UsageError(
                f"{unit.name}: a row of {max(unit.columns)} is no whole number of blocks of {grid.name}",
                hint=f"choose a grid whose blocks divide it; those of {grid.name} have {grid.block} weights",
            )
        nbytes = self._nbytes(unit, stored)
        return replace(unit, grid=grid, stored_as=name_of(stored), nbytes=nbytes, reason=reason)

    def _nbytes(self, unit: PlanUnit, stored: Stored) -> int:
        return sum(self.measure(shape, stored) for shape in unit.files.values())


def name_of(stored: Stored) -> str:
    """What people call it."""
    return stored if isinstance(stored, str) else stored.name


FALLBACK = "fallback: "
"""How the reason of a unit begins that could not have what was asked for."""


@dataclass(frozen=True)
class Wishes:
    """What a user wants otherwise than the scheme has it."""

    embeddings: Stored | None = None
    head: Stored | None = None
    tensors: Sequence[tuple[str, Stored]] = field(default_factory=tuple)
    """Regular expressions, searched for in the names of the model and in those of the file; the last that is
    found decides."""

    def apply(self, plan: QuantPlan) -> QuantPlan:
        """The plan with these in it.

        Raises:
            UsageError: one is about no matrix, a pattern is none, or a grid does not fit.
        """
        found: dict[str, Stored] = {}
        for kind, flag, grid in (
            ("embed_tokens", "--embeddings", self.embeddings),
            ("lm_head", "--head", self.head),
        ):
            if grid is None:
                continue
            units = [unit for unit in plan.units if unit.kind == kind and unit.can_round]
            if not units:
                raise _not_there(plan, kind, f"{flag} {name_of(grid)}")
            found |= {unit.name: grid for unit in units}
        for pattern, grid in self.tensors:
            found |= dict.fromkeys(_matching(plan, pattern), grid)
        return plan.with_grids(found, "asked for") if found else plan


def _not_there(plan: QuantPlan, kind: str, wish: str) -> UsageError:
    for unit in plan.units:
        if unit.kind == kind:
            return UsageError(f"{wish}: {unit.reason}", hint="leave it out, or write other files")
    return UsageError(
        f"{wish}: the model has no {kind} of its own",
        hint="where the head is the embedding, --embeddings is for both",
    )


def _matching(plan: QuantPlan, pattern: str) -> list[str]:
    """Units that a pattern is about."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{pattern!r} is no regular expression ({error})", hint="change --tensor") from None
    names = [
        unit.name
        for unit in plan.units
        if unit.can_round and any(compiled.search(name) for name in (*unit.names, *unit.files))
    ]
    if not names:
        raise UsageError(
            f"{pattern!r} is found in no name of a matrix", hint="see the names: --dry-run; change --tensor"
        )
    return names


def layer_of(name: str) -> int | None:
    """The number of the layer that a tensor of `state_dict()` is in."""
    parts = name.split(".")
    return int(parts[2]) if name.startswith("model.layers.") else None


def kind_of(name: str) -> str:
    """What a tensor is: the module's own name, after `experts.` or `shared_expert.` where it is of those."""
    parts = name.removesuffix(".weight").split(".")
    return ".".join(parts[-2:]) if len(parts) > 1 and parts[-2].endswith(("experts", "expert")) else parts[-1]
