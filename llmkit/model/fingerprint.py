"""Which model a folder or a GGUF file is, without reading all of it. No torch."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from llmkit.formats.model_folder import TensorInfo
from llmkit.model.config import ModelConfig
from llmkit.model.source import read_model_tensors

WHOLE_BYTES = 64_000_000
"""Models up to this size are read whole: a tenth of a second."""
SAMPLES = 16
SAMPLE_BYTES = 4096
_NOT_THE_WEIGHTS = ("rope_scaling", "max_position_embeddings")
"""Fields of the config that a flag changes, and that are told apart by themselves."""


def model_fingerprint(path: Path, config: ModelConfig) -> str:
    """SHA-256 of a config and of what its weights are, in hexadecimal.

    Of each tensor its name, dtype and shape count, and its bytes: all of them in a model of up to
    `WHOLE_BYTES`, else `SAMPLES` pieces of `SAMPLE_BYTES` spread from its first byte to its last. Any
    training or rounding changes every piece. What is not noticed is a large model in which someone has
    changed single numbers by hand, between the pieces. How the tensors are split into files does not count.

    Args:
        path: a model folder or GGUF file.
        config: its config; rope_scaling and max_position_embeddings do not count.

    Raises:
        MissingError, DataError: see `read_model_tensors`.
    """
    fields = {name: value for name, value in asdict(config).items() if name not in _NOT_THE_WEIGHTS}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, default=_plain).encode())
    tensors = read_model_tensors(path)
    whole = sum(tensor.nbytes for tensor in tensors.values()) <= WHOLE_BYTES
    streams: dict[Path, BinaryIO] = {}
    try:
        for name, tensor in sorted(tensors.items()):
            digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            if tensor.file not in streams:
                streams[tensor.file] = tensor.file.open("rb")
            for begin, size in _pieces(tensor, whole=whole):
                streams[tensor.file].seek(tensor.offset + begin)
                digest.update(streams[tensor.file].read(size))
    finally:
        for stream in streams.values():
            stream.close()
    return digest.hexdigest()


def _pieces(tensor: TensorInfo, *, whole: bool) -> list[tuple[int, int]]:
    """Begin and size of what is read of a tensor."""
    if whole or tensor.nbytes <= SAMPLES * SAMPLE_BYTES:
        return [(0, tensor.nbytes)]
    last = tensor.nbytes - SAMPLE_BYTES
    return [(last * number // (SAMPLES - 1), SAMPLE_BYTES) for number in range(SAMPLES)]


def _plain(value: Any) -> Any:
    """Sets and the like, as JSON."""
    return sorted(value) if isinstance(value, frozenset | set) else str(value)
