"""A model's tensors under its own names, as the numbers that they stand for, however its files keep them."""

import math
from pathlib import Path

from llmkit.formats.model_folder import TensorInfo
from llmkit.formats.quantised.matrix_layout import Floats
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.stored_weights import WeightStore, open_store


class ModelTensor(TensorInfo, frozen=True, kw_only=True):
    """One tensor of a model as float32, made when its turn comes; its bytes lie nowhere."""

    store: WeightStore

    def read(self) -> Floats:
        """Its numbers.

        Raises:
            DataError: the file is damaged.
        """
        return self.store.read(self.name, "float32", mapped=False)[self.name]


MADE = (QuantisedInfo, ModelTensor)
"""Tensors whose numbers are made by `read`, and lie in no file."""


def model_tensors(path: Path) -> tuple[dict[str, TensorInfo], bool]:
    """The tensors of a model folder or a GGUF file, and whether the head is the embedding.

    Raises:
        MissingError, ConfigError, DataError: it is not there, not supported, or damaged.
    """
    store = open_store(path)
    tensors: dict[str, TensorInfo] = {
        name: ModelTensor(name, "F32", shape, 4 * math.prod(shape), path, store=store)
        for name, shape in store.shapes.items()
    }
    return tensors, store.config.tie_word_embeddings
