"""Granite 4's layers: Mamba-2 in one, attention in the other."""

from typing import Any

from llmkit.estimate.families.mamba_hybrid import granite_feed, mamba_layers
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes
from llmkit.estimate.read_architecture import read_architecture
from llmkit.model.keys import Keys

SIZES = Sizes(hidden_size=8, vocab_size=50, layers=2, heads=4, kv_heads=2, head_dim=2, max_positions=64)
FILE: dict[str, Any] = {
    **{"layer_types": ["mamba", "attention"], "mamba_n_heads": 4, "mamba_d_state": 3, "mamba_n_groups": 2},
    **{"intermediate_size": 5, "shared_intermediate_size": 7, "num_local_experts": 3},
}


def written(rule: Any, layer: int) -> dict[str, tuple[int, ...]]:
    sheet = Sheet()
    rule(Keys(FILE, "config.json"), SIZES).write(sheet, layer)
    return {tensor.name: tensor.shape for tensor in sheet.tensors}


def test_a_layer_of_mamba_2_has_one_product_in_and_one_out() -> None:
    convolved = 16 + 2 * 2 * 3  # values of twice hidden_size, keys and queries of two groups
    assert written(mamba_layers, 0) == {
        **{f"mamba.{name}": (4,) for name in ("dt_bias", "A_log", "D")},
        **{"mamba.conv1d.weight": (convolved, 1, 4), "mamba.conv1d.bias": (convolved,)},
        "mamba.in_proj.weight": (16 + convolved + 4, 8),
        "mamba.norm.weight": (16,),
        "mamba.out_proj.weight": (8, 16),
    }
    assert list(written(mamba_layers, 1)) == [f"self_attn.{name}_proj.weight" for name in "qkvo"]


def test_a_layer_keeps_a_matrix_for_each_head_and_three_inputs_of_its_convolution() -> None:
    state, full = mamba_layers(Keys(FILE, "config.json"), SIZES).caches
    assert (state.kind, state.recurrent, state.conv) == ("state", 16 * 3, 28 * 3)
    assert (full.kind, full.kv_heads, full.key_dim) == ("full", 2, 2)


def test_the_shared_mlp_stands_beside_experts() -> None:
    assert written(granite_feed, 0) == {
        "block_sparse_moe.router.layer.weight": (3, 8),
        "block_sparse_moe.input_linear.weight": (3, 10, 8),
        "block_sparse_moe.output_linear.weight": (3, 8, 5),
        "shared_mlp.input_linear.weight": (14, 8),
        "shared_mlp.output_linear.weight": (8, 7),
    }
    assert granite_feed(Keys(FILE, "config.json"), SIZES).width == 2 * 5


def test_a_layer_of_falcon_h1_keeps_a_state_beside_keys_and_values() -> None:
    sizes = {"vocab_size": 50, "hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "mamba_n_heads": 4, "mamba_d_ssm": 24}
    found = read_architecture({"model_type": "falcon_h1", **sizes, **heads, "mamba_d_state": 3})
    assert [cache.kind for cache in found.caches] == ["full", "full", "state", "state"]
    assert (found.caches[2].recurrent, found.caches[2].conv) == (24 * 3, (24 + 2 * 3) * 3)
    assert {"model.layers.1.mamba.in_proj.weight", "model.layers.1.self_attn.k_proj.weight"} <= {
        tensor.name for tensor in found.tensors
    }
