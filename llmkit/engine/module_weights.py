"""The weights of a model's modules, for the packer: of one with adapters, of a part, of one in training."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from llmkit.engine.native.weights import PackedModel, pack_weights
from llmkit.engine.parallel.ranks import ranks_of
from llmkit.kernels.packed import PackedFormat
from llmkit.model.dtypes import array_of, dtype_name
from llmkit.model.mapped import FileMappings
from llmkit.model.quantised.coded_weights import Source
from llmkit.model.transformer import Transformer


class ModuleWeights:
    """See `Weights`: arrays that share the memory of the modules."""

    codes: Mapping[str, list[Source]] = {}

    def __init__(self, model: Transformer, *, release: bool = False) -> None:
        """
        Args:
            model: on a CPU.
            release: its matrices are given up as they are packed.
        """
        self._model = model
        self._tensors = model.state_dict()
        self._mappings = FileMappings() if release else None
        self.config = model.config
        self.dtype = dtype_name(model.model.embed_tokens.weight.dtype)
        self.shapes = {name: tuple(one.shape) for name, one in self._tensors.items()}

    def take(self, name: str) -> NDArray[Any]:
        """See `Weights.take`."""
        return array_of(self._tensors[name])

    def forget(self, rows: NDArray[Any]) -> None:
        """See `Weights.forget`."""
        if self._mappings is not None:
            self._mappings.forget_pages(rows)

    def give_up(self, name: str) -> None:
        """See `Weights.give_up`; the module has an empty tensor then."""
        if self._mappings is not None:
            dtype = self._tensors.pop(name).dtype
            module, _, parameter = name.rpartition(".")
            empty = nn.Parameter(torch.empty(0, dtype=dtype), requires_grad=False)
            setattr(self._model.get_submodule(module), parameter, empty)


def pack_model(
    model: Transformer, packed_format: PackedFormat | None = None, *, release: bool = False
) -> PackedModel:
    """A model's weights as the kernels read them.

    Args:
        model: one that `runs_natively`; or a part of one, joined to the others.
        packed_format: INT8 or INT4 to round to; None keeps the weights as they are.
        release: give up the model's own weights matrix by matrix, so that memory holds them once; the model
            can compute nothing afterwards, but its embedding stays.
    """
    return pack_weights(ModuleWeights(model, release=release), packed_format, ranks=ranks_of(model))
