"""What a model's weights take in its files, read off their headers."""

from collections.abc import Iterable
from typing import NamedTuple

from llmkit.formats.model_folder import CONFIG_DTYPES, TensorInfo


class FileWeights(NamedTuple):
    """The weights of a model as they are stored."""

    nbytes: int
    dtype: str
    """Of all tensors; several as `bfloat16+float32`, the one with the most bytes first."""


def file_weights(tensors: Iterable[TensorInfo]) -> FileWeights:
    """The weights that are there, in whatever dtypes they have."""
    nbytes: dict[str, int] = {}
    for tensor in tensors:
        dtype = CONFIG_DTYPES.get(tensor.dtype, tensor.dtype)
        nbytes[dtype] = nbytes.get(dtype, 0) + tensor.nbytes
    largest_first = sorted(nbytes, key=lambda dtype: (-nbytes[dtype], dtype))
    return FileWeights(sum(nbytes.values()), "+".join(largest_first))
