"""A model's tensors as its files keep them, and back: names and layouts, group by group.

The families' tables (`families/stored.py`) say which modules are kept otherwise; all others have one name.
Shapes: N experts, H heads.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.families.stored import How, Stored
from llmkit.model.families.table import FAMILIES

Shape = tuple[int, ...]
_IN_LAYER = re.compile(r"^model\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Group:
    """Tensors of the model, and those of its files with the same numbers."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    how: How
    num_heads: int

    def pack(self, ours: Sequence[Tensor]) -> list[Tensor]:
        """The file's tensors, in the order of `theirs`: views or copies of ours."""
        first = ours[0]
        match self.how:
            case "same":
                return [first]
            case "turned":
                return [_turned(first)]
            case "joined":
                return [torch.cat(tuple(ours))]
            case "joined_turned":
                return [_turned(torch.cat(tuple(ours)))]
            case "joined_by_head":
                by_head = [one.unflatten(0, (self.num_heads, -1)) for one in ours]
                return [torch.stack(by_head, dim=1).flatten(0, 2)]
            case "experts":
                count = len(self.theirs) // len(first)
                return [part for expert in first for part in expert.chunk(count)]
            case "stack_turned":
                return [first.transpose(1, 2) if first.dim() == 3 else first]
            case "stack_in_turns":
                mixed = first.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)  # (N, 2 F, ...)
                return [mixed.transpose(1, 2) if first.dim() == 3 else mixed]

    def shapes(self, ours: Sequence[Shape]) -> list[Shape]:
        """The shapes of the file's tensors, from those of the model's.

        Told by hand: joining tensors without memory, on the meta device, imports a compiler for seconds.
        """
        first = ours[0]
        joined = (sum(one[0] for one in ours), *first[1:])
        match self.how:
            case "same":
                return [first]
            case "turned":
                return [first[::-1]]
            case "joined" | "joined_by_head":
                return [joined]
            case "joined_turned":
                return [joined[::-1]]
            case "experts":
                count = len(self.theirs) // first[0]
                return [(first[1] // count, *first[2:])] * len(self.theirs)
            case "stack_turned" | "stack_in_turns":
                return [(first[0], *first[:0:-1])]

    def unpack(self, theirs: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
        """The model's tensors, in the order of `ours`.

        Args:
            theirs: the file's, in their order.
            rows: the first dimension of each of ours.
        """
        first = theirs[0]
        match self.how:
            case "same":
                return [first]
            case "turned":
                return [_turned(first).contiguous()]
            case "joined":
                return [part.contiguous() for part in first.split(list(rows))]
            case "joined_turned":
                return [part.contiguous() for part in _turned(first).split(list(rows))]
            case "joined_by_head":
                parts = first.unflatten(0, (self.num_heads, len(self.ours), -1)).unbind(1)
                return [part.flatten(0, 1).contiguous() for part in parts]
            case "experts":
                count = len(self.theirs) // rows[0]
                return [_stacked(theirs, rows[0], count)]
            case "stack_turned":
                return [(first.transpose(1, 2) if first.dim() == 3 else first).contiguous()]
            case "stack_in_turns":
                turned = first.transpose(1, 2) if first.dim() == 3 else first
                return [turned.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2).contiguous()]


def groups(config: ModelConfig, names: Iterable[str]) -> list[Group]:
    """The groups of a model whose tensors are called `names`, in their order."""
    tables = {module: stored for stored in FAMILIES[config.model_type].stored for module in stored.ours}
    found: dict[tuple[str, ...], Group] = {}
    for name in names:
        group = _group(config, name, tables)
        found.setdefault(group.ours, group)
    return list(found.values())


def _group(config: ModelConfig, name: str, tables: dict[str, Stored]) -> Group:
    match = _IN_LAYER.match(name)
    layer = match[1] if match else ""
    pattern = name.replace(f".{layer}.", ".*.", 1) if match else name
    module, _, kind = pattern.rpartition(".")
    stack = pattern.removesuffix("_bias")
    if stack in tables:
        return _expert_group(config, tables[stack], layer, pattern[len(stack) :])
    if module not in tables:
        return Group((name,), (name,), "same", 0)
    stored = tables[module]
    ours, theirs = (
        tuple(f"{one.replace('*', layer)}.{kind}" for one in modules)
        for modules in (stored.ours, stored.theirs)
    )
    return Group(ours, theirs, stored.how, config.num_attention_heads)


def _expert_group(config: ModelConfig, stored: Stored, layer: str, kind: str) -> Group:
    """`kind` is empty for the matrices, or `_bias`."""
    ours = tuple(one.replace("*", layer) + kind for one in stored.ours)
    theirs = [one.replace("*", layer) for one in stored.theirs]
    if stored.how != "experts" or config.experts is None:
        return Group(ours, tuple(one + kind for one in theirs), stored.how, 0)
    each = tuple(
        f"{one.replace('#', str(expert))}.{kind.removeprefix('_') or 'weight'}"
        for expert in range(config.experts.num_experts)
        for one in theirs
    )
    return Group(ours, each, "experts", 0)


def _turned(tensor: Tensor) -> Tensor:
    return tensor.t() if tensor.dim() == 2 else tensor


def _stacked(parts: Sequence[Tensor], experts: int, count: int) -> Tensor:
    """Matrices of every expert, `count` of each, into one stack, each copied once."""
    first = parts[0]
    stack = first.new_empty((experts, sum(len(part) for part in parts[:count]), *first.shape[1:]))
    for expert in range(experts):
        torch.cat(tuple(parts[expert * count : (expert + 1) * count]), out=stack[expert])
    return stack
