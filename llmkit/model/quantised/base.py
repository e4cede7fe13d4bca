"""Models whose matrices stay codes: the frozen base of QLoRA, from files or by rounding.

What is not the matrix of a linear layer (embeddings, norms, experts, routers) is made of numbers.
Shapes: R rows, C columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from llmkit.errors import ConfigError
from llmkit.formats.gguf.blocks import dequantise
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import CONFIG, read_config, read_tensors
from llmkit.model.adapters.add_lora import replace_module
from llmkit.model.dtypes import dtype_of, kept_dtype
from llmkit.model.gguf.names import GgufGroup, gguf_groups
from llmkit.model.lazy_weights import LazyWeights
from llmkit.model.names import Group, groups
from llmkit.model.plain_weights import plain_weights
from llmkit.model.quantised.linear import QuantisedLinear
from llmkit.model.quantised.nf4 import nf4
from llmkit.model.quantised.quantisation import quantisation
from llmkit.model.quantised.stored import QuantisedInfo, read_part
from llmkit.model.transformer import Transformer

_WEIGHT = ".weight"
_PLAIN = ("F32", "F16", "BF16")
_STACKS = ("experts", "stack_turned", "stack_in_turns")
"""How experts are kept, which no linear layer is."""


def quantise_base(model: Transformer) -> None:
    """Round the matrices of a model's layers to NF4, four and a half bits a number, one after the other.

    Args:
        model: changed in place, before it is given adapters; embeddings and the head stay as they are.
    """
    for name, module in list(model.model.layers.named_modules()):
        if type(module) is nn.Linear:
            bias = None if module.bias is None else module.bias.detach()
            replace_module(
                model.model.layers, name, QuantisedLinear(nf4(module.weight), bias, module.weight.dtype)
            )
    model.requires_grad_(False)


def load_quantised_base(path: Path, *, dtype: torch.dtype | None = None) -> Transformer:
    """A model over the codes that its file has, in evaluation mode, with nothing to train.

    Matrices that files keep as one and the model has as several are read out of the same codes.

    Args:
        path: a folder with quantised weights (GPTQ, AWQ, bitsandbytes, compressed-tensors, fp8, MLX), or a
            GGUF file.
        dtype: of what is made of numbers, and of a matrix while it is used; None: what the config says.

    Raises:
        MissingError: a file is not there.
        ConfigError: it is not supported, or nothing in it is quantised.
        DataError: it is damaged.
    """
    weights = LazyWeights(path)
    config = weights.config
    kind = dtype or dtype_of(config)
    with torch.device("meta"):
        model = Transformer(config)
    linear = {name for name, module in model.named_modules() if type(module) is nn.Linear}
    codes = {
        name: one
        for name, one in (_gguf_codes if is_gguf(path) else _folder_codes)(path, model).items()
        if name in linear
    }
    if not codes:
        raise ConfigError(
            f"{path}: no matrix of it is quantised", hint="load it as it is, and round it with quantise_base"
        )
    biased = {name for name in codes if f"{name}.bias" in model.state_dict()}
    for name, one in codes.items():
        bias = weights.read([f"{name}.bias"])[f"{name}.bias"].to(kind) if name in biased else None
        replace_module(model, name, QuantisedLinear(one, bias, kind))
    for name in model.state_dict():
        if name.removesuffix(".bias") in biased:
            continue
        numbers = weights.read([name])[name].to(kept_dtype(name, kind))
        model.load_state_dict({name: numbers}, strict=False, assign=True)
    model.requires_grad_(False)
    return model.eval()


class _Source(Protocol):
    """A stored matrix: its tensors, and what they say."""

    tensors: dict[str, Tensor]

    def values(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """float32, in the file's layout, on the CPU."""


class _FolderMatrix:
    """Of a safetensors file, in one of several layouts."""

    def __init__(self, info: QuantisedInfo) -> None:
        self._info = info
        self._names = {suffix: suffix.strip(".").replace(".", "_") for suffix in info.stored}
        self.tensors = {
            name: torch.from_numpy(np.array(read_part(info.stored[suffix])))
            for suffix, name in self._names.items()
        }

    def values(self, tensors: Mapping[str, Tensor]) -> Tensor:
        parts = {suffix: tensors[name].cpu().numpy() for suffix, name in self._names.items()}
        return torch.from_numpy(self._info.values(parts))


class _GgufMatrix:
    """Of a GGUF file: blocks of bytes."""

    def __init__(self, data: GgufData, name: str) -> None:
        self._type, self._shape = data.info(name).type, data.shape(name)
        self.tensors = {"blocks": torch.from_numpy(np.array(data.raw(name)))}

    def values(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(dequantise(tensors["blocks"].cpu().numpy(), self._type, self._shape))


@dataclass(frozen=True)
class _Codes:
    """One of our matrices, out of one of theirs or more."""

    sources: tuple[_Source, ...]
    group: Group | GgufGroup
    rows: tuple[int, ...]
    index: int
    shape: tuple[int, int]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By name; those of the second matrix and on have its number before them."""
        return {
            f"{number or ''}{name}": tensor
            for number, source in enumerate(self.sources)
            for name, tensor in source.tensors.items()
        }

    def dense(self, tensors: dict[str, Tensor], dtype: torch.dtype) -> Tensor:
        """See `Codes`: (R, C)."""
        device = next(iter(tensors.values())).device
        parts = [
            source.values({name: tensors[f"{number or ''}{name}"] for name in source.tensors})
            for number, source in enumerate(self.sources)
        ]
        return self.group.unpack(parts, self.rows)[self.index].to(dtype=dtype, device=device)


def _folder_codes(path: Path, model: Transformer) -> dict[str, _Codes]:
    content = read_config(path)
    kept = groups(model.config, model.state_dict())
    told = quantisation(content, str(path / CONFIG))
    stored = plain_weights(read_tensors(path), model.config, told)
    found: dict[str, _Codes] = {}
    for group in kept:
        infos = [stored[name] for name in group.theirs]
        coded = [info for info in infos if isinstance(info, QuantisedInfo)]
        if len(coded) == len(infos) and group.how not in _STACKS:
            found |= _of_group(group, [_FolderMatrix(info) for info in coded], model)
    return found


def _gguf_codes(path: Path, model: Transformer) -> dict[str, _Codes]:
    data = GgufData(path)
    found: dict[str, _Codes] = {}
    for group in gguf_groups(model.config, model.state_dict(), data.tensors):
        if all(data.info(name).type not in _PLAIN for name in group.theirs) and group.how != "halves":
            found |= _of_group(group, [_GgufMatrix(data, name) for name in group.theirs], model)
    return found


def _of_group(group: Group | GgufGroup, matrices: Sequence[_Source], model: Transformer) -> dict[str, _Codes]:
    shapes = [tuple(model.state_dict()[name].shape) for name in group.ours]
    return {
        name.removesuffix(_WEIGHT): _Codes(
            tuple(matrices),
            group,
            tuple(shape[0] for shape in shapes),
            index,
            (shapes[index][0], shapes[index][1]),
        )
        for index, name in enumerate(group.ours)
        if name.endswith(_WEIGHT) and len(shapes[index]) == 2
    }
