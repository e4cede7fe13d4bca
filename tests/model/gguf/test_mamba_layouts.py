"""Tensors of Mamba-2 in GGUF files: llama.cpp's names and shapes, written out by hand."""

import pytest
import torch

from llmkit.model.gguf.mamba_layouts import MambaHow, MambaLayout, mamba_tensor

CASES: list[tuple[str, str, MambaHow]] = [
    ("in_proj.weight", "ssm_in.weight", "same"),
    ("conv1d.weight", "ssm_conv1d.weight", "flat"),
    ("conv1d.bias", "ssm_conv1d.bias", "same"),
    ("dt_bias", "ssm_dt.bias", "same"),
    ("A_log", "ssm_a", "decay"),
    ("D", "ssm_d", "column"),
    ("norm.weight", "ssm_norm.weight", "by_group"),
    ("out_proj.weight", "ssm_out.weight", "same"),
]


@pytest.mark.parametrize(("inner", "theirs", "how"), CASES)
def test_tensors_have_llama_cpps_names(inner: str, theirs: str, how: MambaHow) -> None:
    assert mamba_tensor("blk.7", inner) == (f"blk.7.{theirs}", how)


@pytest.mark.parametrize(("how", "shape"), [("decay", (6, 1)), ("column", (6, 1)), ("by_group", (3, 2))])
def test_a_vector_has_a_second_dimension_in_files(how: MambaHow, shape: tuple[int, int]) -> None:
    ours, layout = torch.tensor([0.0, 0.5, -1.0, 2.0, 0.25, -0.5]), MambaLayout(how, groups=3)
    (packed,) = layout.pack(ours)
    assert packed.shape == shape and layout.shapes((6,)) == [shape]
    wanted = -ours.exp() if how == "decay" else ours
    assert torch.allclose(packed.flatten(), wanted, rtol=1e-6, atol=0)
    assert layout.is_computed is (how == "decay")
    for theirs in (packed, packed.flatten(), packed.numpy()):  # a dimension of 1 is lost in some files
        assert torch.allclose(torch.as_tensor(layout.unpack([theirs])), ours, rtol=0, atol=2**-23)
