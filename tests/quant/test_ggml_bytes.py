"""Matrices on ggml's grids as bytes, read back by us and by the gguf package."""

import gguf
import numpy as np
import pytest
import torch

from llmkit.formats.gguf.blocks import dequantise
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.quant.ggml_bytes import ggml_bytes
from llmkit.quant.ggml_grids import GGML_GRIDS


@pytest.mark.parametrize("name", GGML_GRIDS)
def test_readers_compute_the_lattice_s_values_bit_for_bit(name: str) -> None:
    weight = torch.randn(130, 768, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    weight[4] = 1
    weight[5] *= 1e-4
    fitted = GGML_GRIDS[name].fit(weight)
    codes = fitted.lattice.round(weight)
    raw = ggml_bytes(name, fitted.stored, codes)
    assert raw.shape == (130, GGML_TYPES[name].row_nbytes(768))
    values = fitted.lattice.values(codes).numpy()
    assert np.array_equal(dequantise(raw.reshape(-1), name, weight.shape), values)
    assert np.array_equal(gguf.dequantize(raw, gguf.GGMLQuantizationType[name]), values)


def test_what_does_not_fit_is_refused() -> None:
    fitted = GGML_GRIDS["Q4_K"].fit(torch.randn(1, 256))
    codes = torch.zeros(1, 256, dtype=torch.uint8)
    with pytest.raises(ValueError, match="a row of 64 is no whole number of blocks"):
        ggml_bytes("Q4_K", fitted.stored, codes[:, :64])
    with pytest.raises(ValueError, match="a code of 16 in Q4_K, which has 16"):
        ggml_bytes("Q4_K", fitted.stored, codes + 16)
    scales = {**fitted.stored, "scales": torch.full((1, 1, 8), 64.0)}
    with pytest.raises(ValueError, match="scales from 64 to 64 in Q4_K"):
        ggml_bytes("Q4_K", scales, codes)
