"""Our modules and transformers' for adapters, both ways: a matrix of theirs may be several of ours.

PEFT names a module of transformers' model as it is in memory. Of what can be adapted that is the name in the
family's files (`families/stored.py`), but for GPT-NeoX's head.
Shapes: r rank, in and out of a matrix (out, in).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.families.stored import How
from llmkit.model.names import Group, groups
from llmkit.model.shapes import tensor_shapes
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer

_Value = TypeVar("_Value")
_WEIGHT = ".weight"
_IN_MEMORY = {"embed_out": "lm_head"}
_NEMOTRON_H = "backbone."
"""What its files have for `model.`"""
_BY_ROWS: dict[How, How] = {"joined_turned": "joined", "turned": "same"}
"""How factors are joined: those of a matrix that is kept as (in, out) are as all others are."""


@dataclass(frozen=True)
class PeftModule:
    """A matrix or embedding of transformers' model."""

    name: str
    """Its module there."""
    ours: tuple[str, ...]
    """Our modules that it holds, in order."""
    rows: tuple[int, ...]
    """out of each of them."""
    columns: int
    """in, the same for all."""
    group: Group
    is_embedding: bool = False

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names of the same module in other releases."""
        stored = self.group.theirs[0].removesuffix(_WEIGHT)  # in memory too where a class came with its files
        others = (theirs for theirs, name in _IN_MEMORY.items() if name == self.name)
        return tuple(dict.fromkeys((self.name, stored, *others)))

    @property
    def layer(self) -> int | None:
        """The number of its layer; None outside of the layers."""
        parts = self.ours[0].split(".")
        return int(parts[2]) if parts[:2] == ["model", "layers"] else None

    @property
    def is_turned(self) -> bool:
        """Whether transformers keeps it as (in, out): PEFT's fan_in_fan_out."""
        return self.group.how in ("turned", "joined_turned")

    def split(self, tensor: Tensor) -> list[Tensor]:
        """Rows of theirs, (out, ...), to those of each of ours."""
        return self._by_rows.unpack([tensor], self.rows)

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """The inverse."""
        return self._by_rows.pack(tensors)[0]

    @property
    def _by_rows(self) -> Group:
        how: How = _BY_ROWS.get(self.group.how, self.group.how)
        return replace(self.group, how=how)


def peft_modules(config: ModelConfig) -> list[PeftModule]:
    """Everything that can have low-rank factors, in the model's order: no experts and no routers, whose
    matrices are stacks, or are chosen by.
    """
    with torch.device("meta"):
        model = Transformer(config)
    kinds = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding | TiedHead)
    }
    found = groups(config, [name + _WEIGHT for name in kinds])
    modules = []
    for group in found:
        ours = tuple(name.removesuffix(_WEIGHT) for name in group.ours)
        shapes = [tuple(kinds[name].weight.shape) for name in ours]
        theirs = group.theirs[0].removesuffix(_WEIGHT)
        modules.append(
            PeftModule(
                name=_loaded(theirs),
                ours=ours,
                rows=tuple(rows for rows, _ in shapes),
                columns=shapes[0][1],
                group=group,
                is_embedding=isinstance(kinds[ours[0]], nn.Embedding),
            )
        )
    return modules


def model_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Our names of all tensors with their shapes, and the head's where it is the embedding."""
    return tensor_shapes(config) | {"lm_head.weight": (config.vocab_size, config.hidden_size)}


def whole_groups(config: ModelConfig, names: Iterable[str]) -> list[Group]:
    """Groups of tensors that an adapter has whole, by our names, with transformers' names in memory."""
    return [
        replace(group, theirs=tuple(_in_memory(name) for name in group.theirs))
        for group in groups(config, names)
    ]


def _in_memory(tensor: str) -> str:
    module, _, kind = tensor.rpartition(".")
    return f"{_loaded(module)}.{kind}"


def _loaded(module: str) -> str:
    """What transformers calls a module of its files."""
    if module.startswith(_NEMOTRON_H):
        module = f"model.{module.removeprefix(_NEMOTRON_H)}"
    return _IN_MEMORY.get(module, module)


def shortest_ends(chosen: Iterable[str], others: Iterable[str]) -> list[str]:
    """Ends of names that name these modules and no other: `q_proj` for that of every layer.

    Args:
        chosen: names to match.
        others: names that must not be matched.

    Returns:
        In alphabetical order; a whole name where no end will do.
    """
    taken = {end for name in others for end in _ends(name)}
    return sorted({next((end for end in _ends(name) if end not in taken), name) for name in chosen})


def ends_by_value(values: Mapping[str, _Value], default: _Value) -> dict[str, _Value]:
    """Ends of names with the value of each that is not the default: rank_pattern and alpha_pattern."""
    patterns: dict[str, _Value] = {}
    for value in dict.fromkeys(value for value in values.values() if value != default):
        chosen = [name for name, one in values.items() if one == value]
        others = [name for name, one in values.items() if one != value]
        patterns |= dict.fromkeys(shortest_ends(chosen, others), value)
    return patterns


def _ends(name: str) -> list[str]:
    """`layers.0.mlp.up_proj`'s ends: up_proj, mlp.up_proj, and all of it; none begins with a number."""
    parts = name.split(".")
    inner = next((-at for at, part in enumerate(reversed(parts)) if part.isdigit()), -len(parts))
    return [".".join(parts[start:]) for start in range(-1, inner - 1, -1)] + [name]
