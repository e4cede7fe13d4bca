"""LFM2's layers: attention in one, a convolution over 3 tokens in the others."""

from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.short_conv import short_conv
from llmkit.estimate.families.sizes import Sizes
from llmkit.model.keys import Keys

SIZES = Sizes(hidden_size=8, vocab_size=50, layers=2, heads=4, kv_heads=2, head_dim=2, max_positions=64)
FILE = {"layer_types": ["conv", "full_attention"], "conv_bias": True}


def written(layer: int) -> dict[str, tuple[int, ...]]:
    sheet = Sheet()
    short_conv(Keys(FILE, "config.json"), SIZES).write(sheet, layer)
    return {tensor.name: tensor.shape for tensor in sheet.tensors}


def test_a_convolution_stands_between_two_products() -> None:
    assert written(0) == {
        "conv.in_proj.weight": (24, 8),
        "conv.in_proj.bias": (24,),
        "conv.conv.weight": (8, 1, 3),
        "conv.conv.bias": (8,),
        "conv.out_proj.weight": (8, 8),
        "conv.out_proj.bias": (8,),
    }


def test_attention_has_norms_of_heads_and_no_biases() -> None:
    assert [name for name in written(1) if "norm" in name or "bias" in name] == [
        "self_attn.q_layernorm.weight",
        "self_attn.k_layernorm.weight",
    ]
    assert written(1)["self_attn.out_proj.weight"] == (8, 8)


def test_a_convolution_keeps_its_last_inputs_and_attention_every_token() -> None:
    state, full = short_conv(Keys(FILE, "config.json"), SIZES).caches
    assert (state.kind, state.conv, state.recurrent) == ("state", 8 * 2, 0)
    assert (full.kind, full.kv_heads, full.key_dim) == ("full", 2, 2)
