"""The exact size of a safetensors file that the safetensors library writes, from names, dtypes and shapes.

8 bytes of header length, a JSON header padded to a multiple of 8, the data. The library puts wide numbers
first, kinds of one width in an order of its own, and names in order: the places in the header depend on it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from llmkit.formats.json_text import encode_json
from llmkit.formats.model_folder import DTYPE_BITS

_ALIGNMENT = 8
_ORDER = (
    *("U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16"),
    *("F8_E8M0", "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"),
)


class Stored(Protocol):
    """What a header says of a tensor."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def nbytes(self) -> int: ...


class TensorShape(NamedTuple):
    """A tensor to be written."""

    name: str
    dtype: str
    """safetensors' word."""
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Of its numbers."""
        return math.prod(self.shape) * DTYPE_BITS[self.dtype] // 8


def header_bytes(tensors: Iterable[Stored], metadata: Mapping[str, str]) -> bytes:
    """What a file has before its data: the length, and JSON padded with spaces.

    Args:
        tensors: in the order of their data.
        metadata: of the file.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for one in tensors:
        begin, end = end, end + one.nbytes
        header[one.name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [begin, end]}
    content = encode_json(header)
    content += b" " * (-len(content) % _ALIGNMENT)
    return len(content).to_bytes(8, "little") + content


def safetensors_nbytes(tensors: Iterable[TensorShape]) -> int:
    """Bytes of the file that `safetensors.torch.save_file` makes of them, with `format` as metadata."""
    ordered = sorted(tensors, key=lambda tensor: (_ORDER.index(tensor.dtype), tensor.name))
    return len(header_bytes(ordered, {"format": "pt"})) + sum(one.nbytes for one in ordered)
