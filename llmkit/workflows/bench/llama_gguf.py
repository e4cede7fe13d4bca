"""A model's weights as the GGUF file that llama.cpp reads beside ours: as many bits a weight, everywhere.

`int8` and `int4` are Q8_0 and Q4_0, of embedding and head too, since ours are; llama-quantize itself would
leave the head of a Q4_0 file in 6 bits, which is slower. A row that is no whole number of blocks of 32 keeps
16 bits (see `gguf_model`).
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.gguf.values import Typed
from llmkit.formats.gguf.write import Buffer, GgufTensor, write_gguf
from llmkit.model.gguf.save import gguf_model
from llmkit.model.source import NO_TOKENIZER
from llmkit.model.transformer import Transformer

_GROUP = 32
_ALL_Q4_0 = 2
"""general.file_type, llama.cpp's LLAMA_FTYPE."""
_STEP = 1 << 17
"""Values at a time."""


def write_peer_gguf(model: Transformer, weights: str, file: Path) -> None:
    """Write the file, without a tokenizer.

    Args:
        model: whose; its dtype is that of `stored`.
        weights: stored, int8 or int4.

    Raises:
        ConfigError: llama.cpp has no such family, or computes it otherwise.
    """
    dtype = str(model.model.embed_tokens.weight.dtype).removeprefix("torch.")
    made = gguf_model(model, dtype if weights == "stored" else "q8_0")
    tensors, metadata = made.tensors, {**made.metadata, "tokenizer.ggml.model": str(NO_TOKENIZER[1])}
    if weights == "int4":
        plain = {tensor.name: tensor for tensor in gguf_model(model, "float32").tensors}
        tensors = [_narrow(plain[one.name]) if one.type == "Q8_0" else one for one in tensors]
        metadata["general.file_type"] = Typed("u32", _ALL_Q4_0)
    with file.open("wb") as stream:
        write_gguf(stream, metadata, tensors)


def _narrow(tensor: GgufTensor) -> GgufTensor:
    return GgufTensor(tensor.name, tensor.shape, "Q4_0", _pieces(tensor.data))


def _pieces(data: Callable[[], Buffer | Iterable[Buffer]]) -> Callable[[], Iterator[NDArray[Any]]]:
    def pieces() -> Iterator[NDArray[Any]]:
        for piece in data():
            values = np.asarray(piece).view(np.float32).reshape(-1, _GROUP)
            for begin in range(0, len(values), _STEP // _GROUP):
                yield q4_0_blocks(values[begin : begin + _STEP // _GROUP])

    return pieces


def q4_0_blocks(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Groups (N, 32) as Q4_0's blocks of 18 bytes, as ggml's reference rounds: a float16 scale that makes the
    number furthest from 0 the code -8, then 32 codes, the first 16 in the lower halves of the bytes.

    Source: quantize_row_q4_0_ref, ggml/src/ggml-quants.c.
    """
    furthest = np.take_along_axis(values, np.abs(values).argmax(1)[:, None], axis=1)
    scale = furthest / np.float32(-8)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    codes = np.minimum((values * inverse + np.float32(8.5)).astype(np.int8), 15).astype(np.uint8)
    blocks = np.empty((len(values), 2 + _GROUP // 2), np.uint8)
    blocks[:, :2] = scale.astype("<f2").view(np.uint8)
    blocks[:, 2:] = codes[:, :16] | codes[:, 16:] << 4
    return blocks.reshape(-1)
