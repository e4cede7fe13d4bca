"""A model's tensors as its files keep them, and back: names and layouts, group by group. No torch.

The families' tables (`families/stored.py`) say which modules are kept otherwise; all others have one name.
Shapes: N experts, H heads.
"""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from llmkit.model.arrays import Array, compact, divided, empty, joined
from llmkit.model.config import ModelConfig
from llmkit.model.families.stored import How, Stored
from llmkit.model.families.table import FAMILIES
from llmkit.model.shapes import Shape

_IN_LAYER = re.compile(r"^model\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Group:
    """Tensors of the model, and those of its files with the same numbers."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    how: How
    num_heads: int

    def pack(self, ours: Sequence[Array]) -> list[Array]:
        """The file's tensors, in the order of `theirs`: views or copies of ours."""
        first = ours[0]
        match self.how:
            case "same":
                return [first]
            case "row":
                return [first[None]]
            case "turned":
                return [_turned(first)]
            case "joined":
                return [joined(ours)]
            case "joined_turned":
                return [_turned(joined(ours))]
            case "joined_by_head":
                heads = [one.reshape(self.num_heads, 1, -1, *one.shape[1:]) for one in ours]
                return [joined(heads, axis=1).reshape(-1, *first.shape[1:])]
            case "experts":
                count = len(self.theirs) // len(first)
                rows = [first.shape[1] // count] * count
                return [part for expert in first for part in divided(expert, rows)]
            case "stack_turned":
                return [_each_turned(first)]
            case "stack_in_turns":
                halves = first.reshape(len(first), 2, -1, *first.shape[2:])
                return [_each_turned(halves.swapaxes(1, 2).reshape(first.shape))]

    def shapes(self, ours: Sequence[Shape]) -> list[Shape]:
        """The shapes of the file's tensors, from those of the model's."""
        first = ours[0]
        match self.how:
            case "same":
                return [first]
            case "row":
                return [(1, *first)]
            case "turned":
                return [first[::-1]]
            case "joined" | "joined_by_head":
                return [_below(ours)]
            case "joined_turned":
                return [_below(ours)[::-1]]
            case "experts":
                count = len(self.theirs) // first[0]
                return [(first[1] // count, *first[2:])] * len(self.theirs)
            case "stack_turned" | "stack_in_turns":
                return [(first[0], *first[:0:-1])]

    def unpack(self, theirs: Sequence[Array], rows: Sequence[int]) -> list[Array]:
        """The model's tensors, in the order of `ours`: what is kept as it is, or only joined, as views.

        Args:
            theirs: the file's, in their order.
            rows: the first dimension of each of ours.
        """
        first = theirs[0]
        match self.how:
            case "same":
                return [first]
            case "row":
                return [first[0]]
            case "turned":
                return [compact(_turned(first))]
            case "joined":
                return divided(first, rows)
            case "joined_turned":
                return [compact(part) for part in divided(_turned(first), rows)]
            case "joined_by_head":
                heads = first.reshape(self.num_heads, len(self.ours), -1, *first.shape[1:])
                parts = [heads[:, number] for number in range(len(self.ours))]
                return [compact(part).reshape(-1, *first.shape[1:]) for part in parts]
            case "experts":
                return [_stacked(theirs, rows[0])]
            case "stack_turned":
                return [compact(_each_turned(first))]
            case "stack_in_turns":
                turned = _each_turned(first)
                pairs = turned.reshape(len(turned), -1, 2, *turned.shape[2:])
                return [compact(pairs.swapaxes(1, 2)).reshape(turned.shape)]


def _below(shapes: Sequence[Shape]) -> Shape:
    """Of matrices below each other."""
    return (sum(one[0] for one in shapes), *shapes[0][1:])


def groups(config: ModelConfig, names: Iterable[str]) -> list[Group]:
    """The groups of a model whose tensors are called `names`, in their order."""
    tables = {module: stored for stored in FAMILIES[config.model_type].stored for module in stored.ours}
    found: dict[tuple[str, ...], Group] = {}
    for name in names:
        group = _group(config, name, tables)
        found.setdefault(group.ours, group)
    return list(found.values())


def as_kept(group: Group, names: Container[str]) -> Group:
    """The experts of a file with these names: one by one, or in one stack as the model has them (Qwen3.5);
    stacks one by one, as llm-compressor takes those of Llama 4 apart to quantise them."""
    if group.how == "stack_turned" and (each := _one_by_one(group.theirs[0], names)):
        return Group(group.ours, each, "experts", 0)
    is_stack = group.how == "experts" and group.theirs[0] not in names and group.ours[0] in names
    return Group(group.ours, group.ours, "same", 0) if is_stack else group


def _one_by_one(stack: str, names: Container[str]) -> tuple[str, ...]:
    """The matrices of each expert that make a stack, as far as there are any among these names."""
    module, _, kind = stack.rpartition(".")
    parts = ("gate_proj", "up_proj") if kind == "gate_up_proj" else (kind,)
    each = ([f"{module}.{expert}.{part}.weight" for part in parts] for expert in count())
    return tuple(name for one in takewhile(lambda one: one[0] in names, each) for name in one)


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


def _turned(array: Array) -> Array:
    return array.swapaxes(0, 1) if array.ndim == 2 else array


def _each_turned(stack: Array) -> Array:
    return stack.swapaxes(1, 2) if stack.ndim == 3 else stack


def _stacked(parts: Sequence[Array], experts: int) -> Array:
    """Matrices of every expert, as many of each, into one stack, each copied once."""
    stack = empty((len(parts), *parts[0].shape), parts[0])
    for number, part in enumerate(parts):
        stack[number] = part
    return stack.reshape(experts, -1, *parts[0].shape[1:])
