"""A safetensors file written tensor by tensor: no more than one has to be in memory. No torch.

8 bytes of header length (little-endian), a JSON header padded with spaces, and the tensors' bytes. Those with
wide numbers come first, so that each begins at a multiple of its numbers' width.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
from safetensors import SafetensorError

from llmkit.formats.model_folder import DTYPE_BITS
from llmkit.formats.safetensors_size import header_bytes


class Planned(msgspec.Struct, frozen=True):
    """A tensor to write."""

    name: str
    dtype: str
    """safetensors' word: F32, BF16, I8, ..."""
    shape: tuple[int, ...]
    parts: Callable[[], Iterable[bytes | memoryview]]
    """Its bytes, in row-major order, made when their turn comes."""

    @property
    def nbytes(self) -> int:
        """What the parts come to."""
        return math.prod(self.shape) * DTYPE_BITS[self.dtype] // 8


def write_safetensors(stream: BinaryIO, tensors: Iterable[Planned], metadata: Mapping[str, str]) -> None:
    """Write a file; the same tensors and metadata give the same bytes.

    Args:
        stream: at its beginning.
        tensors: in the order that their bytes are made in, among those with numbers of one width.
        metadata: for the header.

    Raises:
        ValueError: a tensor's parts do not come to what its shape says.
    """
    ordered = sorted(tensors, key=lambda tensor: -DTYPE_BITS[tensor.dtype])
    stream.write(header_bytes(ordered, metadata))
    for tensor in ordered:
        written = 0
        for part in tensor.parts():
            written += stream.write(part)
        if written != tensor.nbytes:
            raise ValueError(f"{tensor.name}: {written} bytes written, {tensor.nbytes} planned")


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Around the library's own `save_file`: what it says of a full disk becomes the system's error again.

    The library shuts its files to all but their owner; here they may be read as every other output may.

    Raises:
        OSError: the system refused, with its number and the path.
    """
    try:
        path.touch()
        mode = path.stat().st_mode  # as the umask would have it
        yield
        path.chmod(mode)
    except SafetensorError as error:
        match = re.search(r"\(os error (\d+)\)", str(error))
        if match is None:
            raise
        raise OSError(int(match[1]), os.strerror(int(match[1])), str(path)) from None
