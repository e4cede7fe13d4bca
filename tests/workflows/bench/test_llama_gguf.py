"""Weights for llama.cpp: its own rounding, and as many bits as ours."""

from pathlib import Path

import numpy as np
import pytest
import torch

from llmkit.formats.gguf.blocks import dequantise
from llmkit.formats.gguf.data import GgufData
from llmkit.workflows.bench.llama_gguf import q4_0_blocks, write_peer_gguf
from llmkit.workflows.bench.source import open_source


def test_q4_0_is_rounded_as_ggufs_own_package_rounds() -> None:
    quants = pytest.importorskip("gguf.quants")
    types = pytest.importorskip("gguf").GGMLQuantizationType
    random = np.random.default_rng(0)
    values = random.normal(size=(64, 32)).astype(np.float32)
    values[3], values[4, 0], values[5, :] = 0, -9, np.arange(-16, 16)
    blocks = q4_0_blocks(values)
    assert blocks.tobytes() == quants.quantize(values, types.Q4_0).tobytes()
    back = dequantise(blocks, "Q4_0", values.shape)
    assert (np.abs(back - values).max(axis=1) <= np.abs(values).max(axis=1) / 7.9).all()


@pytest.mark.parametrize(("weights", "matrix"), [("stored", "BF16"), ("int8", "Q8_0"), ("int4", "Q4_0")])
def test_every_matrix_has_the_same_bits_and_norms_stay_as_they_are(
    tmp_path: Path, weights: str, matrix: str
) -> None:
    model = open_source(None, "tiny").load("bfloat16", 0)
    write_peer_gguf(model, weights, tmp_path / "a.gguf")
    data = GgufData(tmp_path / "a.gguf")
    tensors = {one.name: one for one in data.header.tensors}
    assert {one.type for name, one in tensors.items() if "norm" not in name} == {matrix}
    assert {one.type for name, one in tensors.items() if "norm" in name} == {"F32"}
    ours = model.model.layers[0].mlp.down_proj.weight.detach().float().numpy()  # type: ignore[union-attr]
    theirs = data.values("blk.0.ffn_down.weight")
    step = {"stored": 0, "int8": 1 / 127, "int4": 1 / 7}[weights]
    assert np.abs(theirs - ours).max() <= step * np.abs(ours).max() + 1e-6
    assert torch.from_numpy(theirs).shape == ours.shape
