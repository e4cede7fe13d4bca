"""Memory of a model's weights: predicted from its config, or read off the headers of its files.

Counted are the tensors that safetensors files of the model hold, a tied head once, a table of sinusoids too.
Every tensor is taken in the one dtype asked for; scales and zero points of quantised formats are not counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from llmkit.estimate.dtypes import STORAGE
from llmkit.estimate.parameters import count_parameters
from llmkit.formats.model_folder import CONFIG_DTYPES, TensorInfo
from llmkit.model.config import ModelConfig


@dataclass(frozen=True)
class Weights:
    """The weights of a model as they are stored."""

    nbytes: int
    dtype: str
    """Of all tensors; several as `bfloat16+float32`, the one with the most bytes first."""


def predict_weights(config: ModelConfig, dtype: str) -> Weights:
    """The weights that a config describes, every tensor in one dtype of `WEIGHT_DTYPES`."""
    table = config.max_position_embeddings * config.hidden_size if config.position == "sinusoidal" else 0
    values, storage = count_parameters(config).total + table, STORAGE[dtype]
    return Weights(-(-values * storage.nbytes // storage.values), dtype)


def stored_weights(tensors: Iterable[TensorInfo]) -> Weights:
    """The weights that are there, in whatever dtypes they have."""
    nbytes: dict[str, int] = {}
    for tensor in tensors:
        dtype = CONFIG_DTYPES.get(tensor.dtype, tensor.dtype)
        nbytes[dtype] = nbytes.get(dtype, 0) + tensor.nbytes
    return Weights(sum(nbytes.values()), "+".join(sorted(nbytes, key=lambda dtype: (-nbytes[dtype], dtype))))
