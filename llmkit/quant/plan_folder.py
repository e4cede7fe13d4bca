"""Plans of folders of safetensors files: one grid for the matrices of the layers, plain numbers elsewhere."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch

from llmkit.errors import ConfigError
from llmkit.model.dtypes import kept_dtype
from llmkit.model.families.stored import How
from llmkit.model.names import Group, groups
from llmkit.model.shapes import CONVOLUTIONS
from llmkit.model.transformer import Transformer
from llmkit.quant.containers import Container, check_module, layout_for, matrix_nbytes
from llmkit.quant.grid import Grid
from llmkit.quant.plan import FALLBACK, PlanUnit, QuantPlan, Shape, kind_of, layer_of

_UNTURNED: dict[str, How] = {"turned": "same", "joined_turned": "joined"}
"""A matrix on a grid is (outputs, inputs) whatever a family's plain files have."""
_OUTSIDE = ("embed_tokens", "lm_head")
_NO_PRODUCT = (
    *("mlp.gate.weight", "shared_expert_gate.weight", "embed_positions.weight", *CONVOLUTIONS),
    "own_inputs.projection.weight",  # llama-quantize leaves it, too
    *(f"linear_attn.in_proj_{name}.weight" for name in ("a", "b", "ba")),
)
"""Routers, tables, convolutions, decays of states: small, and what they decide is not worth the bits."""
_ALIKE = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("linear_attn.in_proj_qkv", "linear_attn.in_proj_z"),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj"),
)
"""Modules that servers multiply with at once, for which they want one format."""


def folder_plan(
    model: Transformer,
    container: Container,
    grid: Grid,
    *,
    dtype: torch.dtype | None = None,
) -> QuantPlan:
    """One grid for every matrix of every layer; embeddings, head, routers and norms stay plain numbers.

    A matrix that the container or the grid's blocks do not fit stays, too, and its reason says so. Queries,
    keys and values have one grid in any case, and gates and ups, as vLLM asks.

    Args:
        model: whose; on the "meta" device to plan only.
        container: the kind of files.
        grid: of `container_grid`.
        dtype: of what stays; None: the model's own.

    Raises:
        UsageError: the container does not hold the grid.
    """
    layout_for(container, grid)
    ours = model.state_dict()
    shapes = {name: tuple(value.shape) for name, value in ours.items()}
    dtypes = {
        name: str(value.dtype if dtype is None else kept_dtype(name, dtype)).removeprefix("torch.")
        for name, value in ours.items()
    }
    merged: dict[str, list[Group]] = {}
    for group in groups(model.config, ours):
        merged.setdefault(_key(group), []).append(group)
    units = [_unit(parts, shapes, dtypes, container, grid) for parts in merged.values()]
    return QuantPlan(tuple(units), partial(_nbytes, container))


def _key(group: Group) -> str:
    """The same for groups of one unit."""
    name = group.ours[0]
    for modules in _ALIKE:
        for module in modules:
            if name.endswith(f".{module}.weight"):
                return name.replace(module, modules[0])
    return name


def _unit(
    parts: list[Group],
    shapes: Mapping[str, Shape],
    dtypes: Mapping[str, str],
    container: Container,
    grid: Grid,
) -> PlanUnit:
    names = tuple(name for group in parts for name in group.ours)
    kind, stays = kind_of(names[0]), dtypes[names[0]]
    is_product = _is_product(names[0], shapes[names[0]])
    refused = _refused(parts, container) if is_product else None
    can_round = is_product and refused is None
    files: dict[str, Shape] = {}
    for group in parts:
        held = replace(group, how=_UNTURNED.get(group.how, group.how)) if can_round else group
        files |= zip(group.theirs, held.shapes([shapes[name] for name in group.ours]), strict=True)
    reason = ""
    if kind in _OUTSIDE:
        reason = refused or "stays unless asked for"
    elif is_product:
        refused = refused or _unfit(files, container, grid)
        reason = "" if refused is None else FALLBACK + refused
    chosen = grid if is_product and not reason else None
    return PlanUnit(
        names=names,
        files=files,
        layer=layer_of(names[0]),
        kind=kind,
        parameters=sum(math.prod(shapes[name]) for name in names),
        grid=chosen,
        stored_as=stays if chosen is None else chosen.name,
        nbytes=sum(_nbytes(container, shape, chosen or stays) for shape in files.values()),
        reason=reason,
        can_round=can_round,
    )


def _is_product(name: str, shape: Shape) -> bool:
    """Whether it is a matrix, or a stack of them, that much is multiplied with."""
    return len(shape) > 1 and not name.endswith((*_NO_PRODUCT, "_bias"))


def _refused(parts: list[Group], container: Container) -> str | None:
    """Why readers of the container look for no codes there."""
    for group in parts:
        kind = kind_of(group.ours[0])
        module = group.theirs[0].removesuffix(".weight")
        is_stack = group.how == "same" and ".mlp.experts." in group.ours[0]  # one tensor there too (Granite)
        how: How = "stack_turned" if is_stack else group.how
        try:
            check_module(container, module, how, embedding=kind == "embed_tokens", head=kind == "lm_head")
        except ConfigError as error:
            return error.problem.partition(" (asked")[0]
    return None


def _unfit(files: Mapping[str, Shape], container: Container, grid: Grid) -> str | None:
    """Why a grid cannot be laid over matrices of these shapes."""
    for rows, columns in files.values():
        if columns % grid.block:
            return f"a row of {columns} is no whole number of groups of {grid.block}"
        try:
            matrix_nbytes(container, (rows, columns), grid)
        except ConfigError as error:
            return error.problem
    return None


def _nbytes(container: Container, shape: Shape, stored: Grid | str) -> int:
    """Of a tensor in a file, without its place in the header."""
    if isinstance(stored, str):
        kind: torch.dtype = getattr(torch, stored)
        return math.prod(shape) * kind.itemsize
    return matrix_nbytes(container, shape, stored)
