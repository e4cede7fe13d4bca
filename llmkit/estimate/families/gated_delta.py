"""Layers of Qwen3-Next and Qwen3.5: gated attention in some, in the others a gated delta rule with its state.

D hidden_size, H query heads, K key/value heads, E head_dim; of the delta rule: G key heads of X numbers,
W value heads of Y, a convolution over `kernel` tokens.

Source: Gated Delta Networks, arXiv:2412.06464; the class in transformers 5.24.
"""

from llmkit.estimate.architecture import LayerCache
from llmkit.estimate.families.attention import Attention
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes, plain_cache
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import linear_but_every


def gated_delta(keys: Keys, sizes: Sizes, *, inputs_by_head: bool) -> Attention:
    """A state layer keeps W matrices of (X, Y), and the last kernel - 1 inputs of its convolution.

    inputs_by_head: whether its inputs are two matrices (Qwen3-Next), or four.
    """
    kinds, _ = linear_but_every(keys, sizes.layers)
    biased = keys.flag("attention_bias")
    D, H, K, E = sizes.hidden_size, sizes.heads, sizes.kv_heads, sizes.head_dim
    G, X = keys.whole("linear_num_key_heads", default=16), keys.whole("linear_key_head_dim", default=128)
    W, Y = keys.whole("linear_num_value_heads", default=32), keys.whole("linear_value_head_dim", default=128)
    kernel = keys.whole("linear_conv_kernel_dim", default=4)
    convolved = 2 * G * X + W * Y  # q and k, v

    def write_attention(sheet: Sheet) -> None:
        sheet.linear("q_proj", 2 * H * E, D, "q_proj", "attention", bias=biased)  # and a gate for each number
        for name in ("k_proj", "v_proj"):
            sheet.linear(name, K * E, D, name, "attention", bias=biased)
        sheet.linear("o_proj", D, H * E, "o_proj", "attention", bias=biased)
        for name in ("q_norm", "k_norm"):
            sheet.norm(name, E)

    def write_delta(sheet: Sheet) -> None:
        inputs = {"qkv": convolved, "z": W * Y, "b": W, "a": W}
        if inputs_by_head:
            inputs = {"qkvz": convolved + W * Y, "ba": 2 * W}
        for name, rows in inputs.items():
            sheet.linear(f"in_proj_{name}", rows, D, "in_proj", "attention")
        sheet.tensor("conv1d.weight", (convolved, 1, kernel), "conv1d", "attention")
        for name in ("dt_bias", "A_log"):
            sheet.tensor(name, (W,), "other", "attention")
        sheet.norm("norm", Y)
        sheet.linear("out_proj", D, W * Y, "out_proj", "attention")

    def write(layer: Sheet, number: int) -> None:
        if kinds[number] == "full":
            write_attention(layer.within("self_attn."))
        else:
            write_delta(layer.within("linear_attn."))

    state = LayerCache(kind="state", recurrent=W * X * Y, conv=convolved * (kernel - 1))
    caches = tuple(plain_cache(sizes, "full", 0) if kind == "full" else state for kind in kinds)
    return Attention(caches, write)
