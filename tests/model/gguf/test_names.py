"""Names and layouts of GGUF tensors: llama.cpp's own names, and every layout undone by its opposite."""

from typing import Any

import numpy as np
import pytest
import torch
from gguf_models import CASES, SHARED, case_config, random_model

from llmkit.model.gguf.architectures import gguf_architecture
from llmkit.model.gguf.curves import is_of_curve
from llmkit.model.gguf.names import GgufGroup, gguf_groups


@pytest.mark.parametrize(("family", "changes"), CASES)
def test_every_name_is_one_of_the_architectures(family: str, changes: dict[str, Any]) -> None:
    constants = pytest.importorskip("gguf.constants")
    config = case_config(family, changes)
    name = gguf_architecture(config).name
    (arch,) = (key for key, value in constants.MODEL_ARCH_NAMES.items() if value == name)
    known = {constants.TENSOR_NAMES[one] for one in constants.MODEL_TENSORS[arch]}
    with torch.device("meta"):
        names = random_model(config).state_dict()
    for group in gguf_groups(config, names):
        for theirs in group.theirs:
            alone = theirs.endswith(("ssm_a", "ssm_d", "ffn_norm"))  # without .weight
            bare, _, kind = (theirs, "", "weight") if alone else theirs.rpartition(".")
            layer = bare.split(".")[1] if bare.startswith("blk.") else None
            pattern = bare if layer is None else bare.replace(f"blk.{layer}.", "blk.{bid}.", 1)
            assert pattern in known, theirs
            assert kind in (("weight", "bias", "scale") if family == "gemma4_text" else ("weight", "bias"))


def test_each_of_our_tensors_is_in_one_group_but_the_numbers_that_are_keys() -> None:
    for family, changes in CASES:
        config = case_config(family, changes)
        with torch.device("meta"):
            names = list(random_model(config).state_dict())
        ours = [name for group in gguf_groups(config, names) for name in group.ours]
        in_keys = [name for name in names if is_of_curve(name)]
        assert sorted(ours + in_keys) == sorted(names)
        assert len(in_keys) == (4 * config.num_hidden_layers if family == "apertus" else 0)


@pytest.mark.parametrize(
    ("group", "shapes"),
    [
        (GgufGroup(("a",), ("x",)), [(6, 4)]),
        (GgufGroup(("a",), ("x",), "row"), [(1, 4)]),
        (GgufGroup(("a",), ("x",), "in_turns", heads=3), [(12, 5)]),
        (GgufGroup(("a",), ("x",), "in_turns", heads=3), [(12,)]),
        (GgufGroup(("a", "b", "c"), ("x",), "joined"), [(6, 4), (2, 4), (2, 4)]),
        (GgufGroup(("a",), ("x", "y"), "halves"), [(3, 8, 5)]),
        (GgufGroup(("a",), ("x", "y"), "halves"), [(3, 8)]),
        (GgufGroup(("a",), ("x", "y"), "latent", heads=2, key_dim=3), [(2 * (3 + 4), 5)]),
    ],
)
def test_unpacking_undoes_packing(group: GgufGroup, shapes: list[tuple[int, ...]]) -> None:
    ours = [torch.randn(shape) for shape in shapes]
    theirs = group.pack(ours)
    assert len(theirs) == len(group.theirs)
    assert group.shapes(shapes) == [tuple(one.shape) for one in theirs]
    back = group.unpack(theirs, [len(one) for one in ours])
    assert all(torch.equal(a, b) for a, b in zip(ours, back, strict=True))
    arrays = group.pack([one.numpy() for one in ours])
    assert [one.tolist() for one in arrays] == [one.tolist() for one in theirs]
    undone = group.unpack(arrays, [len(one) for one in ours])
    assert [one.tolist() for one in undone] == [one.tolist() for one in ours]


def test_the_gate_of_a_shared_expert_is_a_vector_and_may_be_a_matrix_of_one_row() -> None:
    name = "model.layers.0.mlp.shared_expert_gate.weight"
    (group,) = gguf_groups(case_config("qwen2_moe", SHARED), [name])
    assert group.theirs == ("blk.0.ffn_gate_inp_shexp.weight",) and group.shapes([(1, 4)]) == [(4,)]
    for shape in ((4,), (1, 4)):  # of llama.cpp's converter; of ours before 2026-12
        assert group.unpack([torch.ones(shape)], [1])[0].shape == (1, 4)


def test_rows_in_turns_are_pairs_of_the_two_halves() -> None:
    (packed,) = GgufGroup(("a",), ("x",), "in_turns", heads=2).pack([torch.arange(8)])
    assert packed.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_keys_and_values_of_latents_come_apart_by_heads() -> None:
    whole = torch.arange(2 * 3 * 2).view(6, 2)  # two heads of one key row and two value rows, rank 2
    k, v = GgufGroup(("a",), ("x", "y"), "latent", heads=2, key_dim=1).pack([whole])
    assert k.tolist() == [[[0], [1]], [[6], [7]]]  # (H, C, K)
    assert v.tolist() == [[[2, 3], [4, 5]], [[8, 9], [10, 11]]]  # (H, V, C)


def test_a_file_may_keep_queries_keys_and_values_together_or_not() -> None:
    name = "model.layers.0.self_attn.k_proj.weight"
    phi3, llama = case_config("phi3", {}), case_config("llama", {})
    assert gguf_groups(phi3, [name])[0].theirs == ("blk.0.attn_qkv.weight",)
    assert gguf_groups(phi3, [name], {"blk.0.attn_q.weight"})[0].theirs == ("blk.0.attn_k.weight",)
    # joined rows in turns would have to be told apart first: such a file lacks attn_k and is refused
    assert gguf_groups(llama, [name], {"blk.0.attn_qkv.weight"})[0].theirs == ("blk.0.attn_k.weight",)


def test_a_plain_mlp_has_no_gate_to_be_joined_with() -> None:
    config = case_config("starcoder2", {})
    (group,) = gguf_groups(config, ["model.layers.0.mlp.up_proj.weight"], {"blk.0.ffn_up.weight"})
    assert (group.how, group.ours) == ("same", ("model.layers.0.mlp.up_proj.weight",))


def test_gemmas_norms_are_stored_as_one_plus_weight() -> None:
    groups = gguf_groups(case_config("gemma", {}), ["model.norm.weight", "model.embed_tokens.weight"])
    assert [group.how for group in groups] == ["plus_one", "same"]
    (stored,) = groups[0].pack([torch.tensor([0.5, -1.0])])
    assert stored.tolist() == [1.5, 0.0]
    (back,) = groups[0].unpack([np.array([1.5, 0.0], np.float32)], [2])
    assert back.tolist() == [0.5, -1.0] and back.dtype == np.float32
