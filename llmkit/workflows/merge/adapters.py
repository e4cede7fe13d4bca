"""Adapters to be folded into a base: opened, found to fit, and added to one tensor at a time.

What an adapter changes is its difference to the base: scales multiply that difference, and those of several
adapters are added, each taken from the base itself, so their order does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from llmkit.errors import DataError, some_of
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from llmkit.model.adapters.load import load_adapter
from llmkit.model.adapters.weights import TRAINED_ON, AdapterWeights
from llmkit.model.config import ModelConfig
from llmkit.model.finite import check_finite
from llmkit.model.shapes import tensor_shapes
from llmkit.workflows.merge.report import AdapterRow
from llmkit.workflows.merge.source import MergeSource
from llmkit.workflows.scaled_path import ScaledPath

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_WEIGHT = ".weight"


@dataclass(frozen=True)
class OpenAdapter:
    """An adapter, its numbers read: they are few beside the base's."""

    path: Path
    scale: float
    values: AdapterWeights

    @cached_property
    def names(self) -> set[str]:
        """The tensors that it changes."""
        return {module + _WEIGHT for module in self.values.modules} | self.values.whole.keys()

    def change(self, name: str, base: Tensor) -> Tensor:
        """What it adds to a tensor of its names, float32, before the scale."""
        low = self.values.modules.get(name.removesuffix(_WEIGHT))
        if low is not None and low.magnitude is None and name not in self.values.whole:
            return low.delta()
        return self.alone(name, base, 1.0) - base

    def alone(self, name: str, base: Tensor, scale: float) -> Tensor:
        """A tensor with nothing else added: with scale 1 the adapter's own numbers, exactly."""
        low = self.values.modules.get(name.removesuffix(_WEIGHT))
        if name not in self.values.whole:
            assert low is not None
            return low.merged(base, scale)
        own = self.values.whole[name].float()  # peft keeps a copy of an embedding beside its factors
        return torch.lerp(base, own if low is None else low.merged(own), scale)


@dataclass(frozen=True)
class Adapters:
    """Those of a merge, and the model that comes out."""

    adapters: tuple[OpenAdapter, ...]
    config: ModelConfig
    """The base's, with a head of its own where an adapter tells the head from the embedding."""
    unties: bool

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the output's tensors."""
        return tensor_shapes(self.config)

    def touching(self, name: str) -> list[Path]:
        """The adapters that change a tensor."""
        return [one.path for one in self.adapters if name in one.names]

    def touches(self, name: str) -> bool:
        """Whether any of them changes it."""
        return bool(self.touching(name))

    def read(self, base: MergeSource, names: Sequence[str]) -> dict[str, Tensor]:
        """Tensors of the output, float32: the base's with everything added."""
        copied = self.unties and _HEAD in names
        found = base.read([_EMBEDDING if copied and name == _HEAD else name for name in names])
        if copied:
            found[_HEAD] = found[_EMBEDDING] if _EMBEDDING in names else found.pop(_EMBEDDING)
        return {name: self.fold(name, found[name]) for name in names}

    def fold(self, name: str, base: Tensor) -> Tensor:
        """One tensor with everything added: float32, rounded by whoever stores it."""
        own = [one for one in self.adapters if name in one.names]
        if len(own) == 1:
            return own[0].alone(name, base, own[0].scale)
        total = base
        for one in own:
            total = torch.add(total, one.change(name, base), alpha=one.scale)
        return total

    def rows(self) -> list[AdapterRow]:
        """For the report."""
        return [
            AdapterRow(
                path=str(one.path),
                scale=one.scale,
                matrices=len(one.values.modules),
                saved=len(one.values.whole),
                ranks=sorted({low.rank for low in one.values.modules.values()}),
                variant=_variant(one.values),
            )
            for one in self.adapters
        ]

    def files(self) -> dict[Path, list[Path]]:
        """What was read, by folder."""
        return {
            one.path: [one.path]
            if is_gguf(one.path)
            else [one.path / ADAPTER_CONFIG, one.path / ADAPTER_WEIGHTS]
            for one in self.adapters
        }


def open_adapters(given: Sequence[ScaledPath], base: MergeSource) -> Adapters:
    """Read adapters and find that they fit a base.

    Raises:
        MissingError, ConfigError, DataError: see `load_adapter`; or a number is not finite; or the base
            has no such tensor, or another shape of it: the first are named.
    """
    config = base.weights.config
    opened = tuple(OpenAdapter(one.path, one.scale, load_adapter(one.path, config)) for one in given)
    for one in opened:
        _check_finite(one)
    unties = False
    if config.tie_word_embeddings:
        opened, unties = _head_of_its_own(opened)
    if unties:
        config = replace(config, tie_word_embeddings=False)
    found = Adapters(opened, config, unties)
    shapes = found.shapes
    for one in opened:
        if wrong := _misfits(one, shapes):
            raise DataError(
                f"{one.path}: does not fit {base.path}: {some_of(wrong)}",
                hint=TRAINED_ON,
            )
    return found


def _check_finite(adapter: OpenAdapter) -> None:
    numbers = dict(adapter.values.whole)
    for module, low in adapter.values.modules.items():
        parts = {"lora_A": low.A, "lora_B": low.B, "magnitude": low.magnitude}
        numbers |= {f"{module} {part}": one for part, one in parts.items() if one is not None}
    for name, tensor in numbers.items():
        check_finite(f"{adapter.path}: {name}", tensor, None)


def _head_of_its_own(opened: tuple[OpenAdapter, ...]) -> tuple[tuple[OpenAdapter, ...], bool]:
    """Whether a tied head can be so no longer; where it can, what adapters have of it is the embedding's."""
    kept = []
    for one in opened:
        embedding, head = (one.values.whole.get(name) for name in (_EMBEDDING, _HEAD))
        low_rank = {name.removesuffix(_WEIGHT) for name in (_EMBEDDING, _HEAD)} & one.values.modules.keys()
        if embedding is None and head is None and not low_rank:
            kept.append(one)
        elif low_rank or embedding is None or head is None or not torch.equal(embedding, head):
            return opened, True
        else:
            whole = {name: tensor for name, tensor in one.values.whole.items() if name != _HEAD}
            kept.append(replace(one, values=replace(one.values, whole=whole)))
    return tuple(kept), False


def _misfits(adapter: OpenAdapter, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    made = {name: tuple(one.shape) for name, one in adapter.values.whole.items()}
    made |= {
        module + _WEIGHT: (low.B.shape[0], low.A.shape[1]) for module, low in adapter.values.modules.items()
    }
    wrong = []
    for name, shape in made.items():
        if name not in shapes:
            wrong.append(f"{name} is not in the model")
        elif shapes[name] != shape:
            wrong.append(f"{name} {list(shape)} for {list(shapes[name])}")
    return wrong


def _variant(values: AdapterWeights) -> str:
    words = [word for word, used in (("rslora", values.use_rslora), ("dora", values.use_dora)) if used]
    return " + ".join(words) or "lora"
