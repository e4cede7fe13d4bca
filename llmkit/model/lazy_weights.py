"""A model's weights read when they are asked for, under the model's own names, as float32.

`load_model` gives a model that computes; this gives its numbers to whoever looks at them in turn, so that
memory is that of a few tensors, however large the model and however it is kept: safetensors of any family,
quantised folders, GGUF files.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from llmkit.model.dtypes import tensor_of
from llmkit.model.source import check_model
from llmkit.model.stored_weights import open_store


class LazyWeights:
    """The weights of one model, none of them read yet."""

    def __init__(self, path: Path) -> None:
        """Read the config and the headers.

        Args:
            path: a model folder or a GGUF file.

        Raises:
            MissingError: there is none.
            ConfigError: it is not supported.
            DataError: it is damaged, or its tensors are not what its config tells.
        """
        check_model(path)
        self.path = path
        self._store = open_store(path)
        self.config = self._store.config
        self.shapes = self._store.shapes
        """Of the model's tensors, in its order."""

    @property
    def quantised(self) -> bool:
        """Whether any matrix is kept in fewer bits than plain numbers have."""
        return self._store.quantised

    def dtype(self, name: str) -> str:
        """How a tensor is kept: float32, bfloat16, float16, or the name of a quantised form."""
        return self._store.form(name)

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Some tensors, float32, in memory of their own.

        Raises:
            DataError: the file is damaged.
        """
        wanted = list(dict.fromkeys(names))
        found: dict[str, NDArray[Any]] = {}
        for name in wanted:
            if name not in found:
                found |= self._store.read(name, "float32", mapped=False)
        return {name: tensor_of(found[name]) for name in wanted}
