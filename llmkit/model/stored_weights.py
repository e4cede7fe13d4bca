"""A model's weights read from its files, each when its turn comes, under the model's own names. No torch.

Tensors that need no change of dtype or layout are mapped: the file's own pages, copied only where they are
written to. The others are read and rearranged group by group, so that what a file has and what the model has
are in memory together for one group at a time.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from llmkit.formats.gguf.magic import is_gguf
from llmkit.model.config import ModelConfig
from llmkit.model.folder_store import FolderStore
from llmkit.model.gguf.store import GgufStore
from llmkit.model.quantised.coded_weights import CodedWeights, Source
from llmkit.model.shapes import Shape
from llmkit.model.stored_numbers import dtype_name_of


class WeightStore(Protocol):
    """One form of file. Its config and headers are read and agree; no weight is read yet.

    Attributes:
        config: of the model.
        shapes: of the model's tensors, in its order.
    """

    config: ModelConfig
    shapes: dict[str, Shape]

    @property
    def quantised(self) -> bool:
        """Whether any matrix is kept in fewer bits than plain numbers have."""

    def form(self, name: str) -> str:
        """How a tensor is kept: float32, bfloat16, float16, or the name of a quantised form."""

    def offer(self, coded: CodedWeights) -> None:
        """Have it take the matrices that are to stay codes."""

    def read(self, name: str, dtype: str, *, mapped: bool) -> dict[str, NDArray[Any]]:
        """A tensor, with those that the file keeps together with it.

        Args:
            name: the model's.
            dtype: of the weights; a tensor that stays float32 whatever they are does so here.
            mapped: gives the file's own pages, where it has them as they are asked for.

        Raises:
            DataError: the file is damaged.
        """

    def forget_pages(self, array: NDArray[Any]) -> int:
        """Drop the pages of a mapped array from this process; see `FileMappings.forget_pages`."""


def open_store(path: Path, rope_scaling: Mapping[str, Any] | None = None) -> WeightStore:
    """A model folder or a GGUF file.

    Raises:
        MissingError: a file is not there.
        ConfigError: the config asks for something that is not supported.
        DataError: the weights are damaged or are not this config's.
    """
    return GgufStore(path, rope_scaling) if is_gguf(path) else FolderStore(path, rope_scaling)


class StoredWeights:
    """The weights of one model, for one who takes each of them once.

    Attributes:
        config: of the model.
        dtype: of the weights by its name, but for those that stay float32.
        shapes: of all tensors by name, in the model's order.
        codes: of the matrices that stay codes and are not taken: one, or each expert's of a stack.
    """

    def __init__(
        self,
        path: Path,
        *,
        dtype: str | None = None,
        rope_scaling: Mapping[str, Any] | None = None,
        coded: CodedWeights | None = None,
    ) -> None:
        """
        Args:
            path: a folder with config.json and safetensors weights, or a GGUF file. Quantised weights become
                plain numbers.
            dtype: float32, bfloat16 or float16; None keeps what the config says.
            rope_scaling: in place of what the config says, for longer texts.
            coded: takes the quantised matrices that the kernels read as they are stored.

        Raises:
            MissingError, ConfigError, DataError: see `open_store`.
        """
        self._store = open_store(path, rope_scaling)
        self.config, self.shapes = self._store.config, self._store.shapes
        self.dtype = dtype or dtype_name_of(self.config)
        if coded is not None:
            self._store.offer(coded)
        self.codes: Mapping[str, list[Source]] = {} if coded is None else coded.sources
        self._left = self.shapes.keys() - self.codes.keys()
        self._ahead: dict[str, NDArray[Any]] = {}

    def take(self, name: str) -> NDArray[Any]:
        """One tensor, (...), contiguous, in its dtype; bfloat16 is uint16. It is kept by nobody else.

        Of tensors that the file keeps together all are read with the first, and held until they are taken.

        Raises:
            KeyError: there is none of this name, it stays codes, or it was taken before.
            DataError: the file is damaged, or has something in two places that differ.
        """
        self._left.remove(name)
        if name not in self._ahead:
            self._ahead |= self._store.read(name, self.dtype, mapped=True)
        return self._ahead.pop(name)

    def forget(self, rows: NDArray[Any]) -> None:
        """Say that rows of a tensor are needed no more: pages of them that are mapped leave this process."""
        self._store.forget_pages(rows)

    def give_up(self, name: str) -> None:
        """Nothing: a tensor that was taken is kept by nobody here."""
