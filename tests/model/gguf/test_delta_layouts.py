"""Tensors of the gated delta rule in GGUF files, against orders that are written out by hand."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from llmkit.model.config_states import DeltaConfig
from llmkit.model.gguf.delta_layouts import DeltaHow, DeltaLayout, delta_tensors

SIZES = {"num_key_heads": 2, "num_value_heads": 6, "key_head_dim": 2, "value_head_dim": 3, "kernel": 4}
QWEN35 = DeltaConfig(layers=(0,), **SIZES)
NEXT = DeltaConfig(layers=(0,), inputs_by_head=True, **SIZES)
HEADS = [0, 3, 1, 4, 2, 5]
"""Value heads in a file of Qwen3.5: 0 1 2 share the first key head, 3 4 5 the second."""
CASES: list[tuple[DeltaHow, DeltaConfig, tuple[int, ...]]] = [
    *(("heads", QWEN35, (18, 5)), ("heads", QWEN35, (6, 5)), ("heads", QWEN35, (6,))),
    *(("channels", QWEN35, (8 + 18, 5)), ("conv", QWEN35, (8 + 18, 1, 4)), ("columns", QWEN35, (5, 18))),
    *(("decay", QWEN35, (6,)), ("decay", NEXT, (6,)), ("by_key_head", NEXT, (2 * (2 * 2 + 2 * 9), 5))),
]


def numbered(*shape: int) -> Tensor:
    return torch.arange(float(np.prod(shape))).view(shape)


@pytest.mark.parametrize(("how", "delta", "shape"), CASES)
def test_unpacking_undoes_packing(how: DeltaHow, delta: DeltaConfig, shape: tuple[int, ...]) -> None:
    layout, ours = DeltaLayout(how, delta), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    theirs = layout.pack(ours)
    assert layout.shapes(shape) == [tuple(one.shape) for one in theirs]
    if how == "decay":  # through a logarithm
        assert torch.allclose(layout.unpack(theirs), ours, rtol=0, atol=2**-23)
    else:
        assert torch.equal(layout.unpack(theirs), ours)
    arrays = layout.pack(ours.numpy())
    assert [one.tolist() for one in arrays] == [one.tolist() for one in theirs]
    assert layout.unpack(arrays).tolist() == layout.unpack(theirs).tolist()
    assert layout.unpack(arrays).dtype == np.float32


def test_the_first_value_head_of_each_key_head_comes_first() -> None:
    (packed,) = DeltaLayout("heads", QWEN35).pack(numbered(6))
    assert packed.tolist() == HEADS
    (packed,) = DeltaLayout("heads", QWEN35).pack(numbered(18, 2))
    assert packed[:, 0].tolist() == [2.0 * (3 * head + row) for head, row in product(HEADS, range(3))]


def test_queries_and_keys_stay_and_values_move() -> None:
    for how, ours in (("channels", numbered(26)), ("conv", numbered(26).view(26, 1, 1))):
        (packed,) = DeltaLayout(how, QWEN35).pack(ours)  # type: ignore[arg-type]
        moved = [8 + 3 * head + row for head, row in product(HEADS, range(3))]
        assert packed.flatten().tolist() == [*range(8), *moved]


def test_columns_of_the_last_product_move_as_its_inputs_do() -> None:
    weight, x = torch.randn(5, 18), torch.randn(18)
    (packed,), (moved,) = DeltaLayout("columns", QWEN35).pack(weight), DeltaLayout("heads", QWEN35).pack(x)
    assert torch.allclose(packed @ moved, weight @ x, atol=1e-5)


def test_decays_are_minus_the_exponential_and_move_in_qwen35_only() -> None:
    logarithms = torch.tensor([0.0, 0.5, -1.0, 2.0, 0.25, -0.5])
    (packed,) = DeltaLayout("decay", QWEN35).pack(logarithms)
    assert torch.allclose(packed, -logarithms[HEADS].exp(), rtol=1e-6) and packed.dtype == torch.float32
    (packed,) = DeltaLayout("decay", NEXT).pack(logarithms)
    assert torch.allclose(packed, -logarithms.exp(), rtol=1e-6)
    (packed,) = DeltaLayout("decay", NEXT).pack(logarithms.bfloat16())
    assert packed.dtype == torch.float32


def test_all_queries_keys_and_values_come_before_all_gates() -> None:
    # of each of two key heads: 2 of q, 2 of k, 9 of v, 9 of z
    qkv, z = DeltaLayout("by_key_head", NEXT).pack(numbered(44))
    second = [22 + n for n in range(22)]
    expected = [[0, 1], second[:2], [2, 3], second[2:4], range(4, 13), second[4:13]]
    assert qkv.tolist() == [one for part in expected for one in part]
    assert z.tolist() == [*range(13, 22), *second[13:]]


@pytest.mark.parametrize(
    ("inner", "theirs", "how"),
    [
        ("in_proj_qkv.weight", "attn_qkv.weight", "channels"),
        ("in_proj_z.weight", "attn_gate.weight", "heads"),
        ("in_proj_b.weight", "ssm_beta.weight", "heads"),
        ("in_proj_a.weight", "ssm_alpha.weight", "heads"),
        ("conv1d.weight", "ssm_conv1d.weight", "conv"),
        ("dt_bias", "ssm_dt.bias", "heads"),
        ("A_log", "ssm_a", "decay"),
        ("norm.weight", "ssm_norm.weight", "same"),
        ("out_proj.weight", "ssm_out.weight", "columns"),
    ],
)
def test_qwen35s_tensors_have_llama_cpps_names(inner: str, theirs: str, how: DeltaHow) -> None:
    assert delta_tensors(QWEN35, "blk.3", inner, None) == ((f"blk.3.{theirs}",), how)
    one_each = DeltaConfig(layers=(0,), **(SIZES | {"num_key_heads": 6}))
    unmoved = {"decay": "decay", "conv": "flat"}.get(how, "same")  # there is nothing to put in order
    assert delta_tensors(one_each, "blk.3", inner, None)[1] == unmoved


def test_qwen3_nexts_inputs_are_apart_or_as_they_were_in_older_files() -> None:
    apart = ("blk.0.attn_qkv.weight", "blk.0.attn_gate.weight")
    name = "in_proj_qkvz.weight"
    assert delta_tensors(NEXT, "blk.0", name, None) == (apart, "by_key_head")
    assert delta_tensors(NEXT, "blk.0", name, set(apart)) == (apart, "by_key_head")
    whole = ("blk.0.ssm_in.weight",)
    assert delta_tensors(NEXT, "blk.0", name, {*whole}) == (whole, "same")
    assert delta_tensors(NEXT, "blk.0", "in_proj_ba.weight", None) == (("blk.0.ssm_ba.weight",), "same")
    assert delta_tensors(NEXT, "blk.0", "out_proj.weight", None)[1] == "same"
