"""GGUF files whose matrices are random blocks: every code and scale that there is, without an encoder."""

from pathlib import Path
from typing import Any

import numpy as np

from llmkit.formats.gguf.blocks import LAYOUTS, stored_nbytes
from llmkit.formats.gguf.write import GgufTensor, write_gguf
from llmkit.model.gguf.save import gguf_model
from llmkit.model.transformer import Transformer

SIZES = {
    **{"Q4_0": 0.01, "Q4_1": 0.01, "Q8_0": 7e-4, "Q5_0": 5e-3, "Q5_1": 5e-3, "IQ4_NL": 7e-4, "IQ4_XS": 4e-5},
    **{"Q2_K": 6e-3, "Q3_K": 1.2e-3, "Q4_K": 3e-4, "Q5_K": 1.5e-4, "Q6_K": 4e-5},
    **{"IQ1_S": 1e-2, "IQ1_M": 1e-2, "IQ2_XXS": 1.5e-3, "IQ2_XS": 1.5e-3, "IQ2_S": 1.5e-3},
    **{"IQ3_XXS": 5e-4, "IQ3_S": 5e-4, "Q1_0": 6e-2, "Q2_0": 5e-2},
}
"""Of a block's scale, so that a matrix of 256 columns changes the size of what it is given little."""
_MIDDLES = {"Q2_K": 1.5, "Q4_K": 7.5, "Q5_K": 15.5, "Q4_1": 7.5, "Q5_1": 15.5}


def coded_gguf(path: Path, model: Transformer, types: dict[str, str]) -> Path:
    """Write a model's file; matrices whose names hold a key of `types` are random blocks of its type."""
    made = gguf_model(model, "float32")
    random = np.random.default_rng(4)

    def blocks(type_name: str, shape: tuple[int, ...]) -> Any:
        raw = random.integers(0, 256, stored_nbytes(type_name, shape)).astype(np.uint8)
        stored = raw.view(LAYOUTS[type_name])
        size = SIZES[type_name]
        scales = random.uniform(0.5, 1.5, size=len(stored)) * size
        if type_name == "IQ1_M":  # four bits of it in each of four words
            pieces = scales.astype(np.float16).view(np.uint16)[:, None] >> np.uint16([0, 4, 8, 12]) << 12
            stored["scales"] = stored["scales"] & 0xFFF | pieces
        else:
            stored["d"] = scales
        if type_name in _MIDDLES:  # so that the mean is about zero
            sign = -1 if "m" in stored.dtype.names else 1
            stored["m" if sign < 0 else "dmin"] = sign * stored["d"] * _MIDDLES[type_name]
        return raw

    tensors = []
    for one in made.tensors:
        kind = next((types[key] for key in types if key in one.name), None)
        if kind is not None and len(one.shape) > 1 and "_inp" not in one.name:
            content = blocks(kind, one.shape)
            one = GgufTensor(one.name, one.shape, kind, lambda content=content: content)
        tensors.append(one)
    with path.open("wb") as stream:
        write_gguf(stream, made.metadata, tensors)
    return path
