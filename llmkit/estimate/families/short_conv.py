"""LFM2's layers: attention in some, a gated short convolution in the others.

D hidden_size; a convolution over `kernel` tokens, of whose last inputs a layer keeps kernel - 1.
"""

from llmkit.estimate.architecture import LayerCache
from llmkit.estimate.families.attention import Attention, separate
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes
from llmkit.model.families.states import CONV_FILES
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import conv_but_some

_ATTENTION = separate(
    kinds=conv_but_some, head_norm="head", head_norm_names=("q_layernorm", "k_layernorm"), output="out_proj"
)


def short_conv(keys: Keys, sizes: Sizes) -> Attention:
    """Attention with norms over heads, or in_proj, conv and out_proj."""
    kinds, _ = conv_but_some(keys, sizes.layers)
    keys.known(*CONV_FILES)
    D, kernel, biased = sizes.hidden_size, keys.whole("conv_L_cache", default=3), keys.flag("conv_bias")
    attention = _ATTENTION(keys, sizes)

    def write(layer: Sheet, number: int) -> None:
        if kinds[number] == "full":
            attention.write(layer, number)
            return
        sheet = layer.within("conv.")
        sheet.linear("in_proj", 3 * D, D, "in_proj", "attention", bias=biased)
        sheet.tensor("conv.weight", (D, 1, kernel), "conv1d", "attention")
        if biased:
            sheet.tensor("conv.bias", (D,), "bias", "attention")
        sheet.linear("out_proj", D, D, "out_proj", "attention", bias=biased)

    state = LayerCache(kind="state", conv=D * (kernel - 1))
    caches = (state if kind == "state" else own for kind, own in zip(kinds, attention.caches, strict=True))
    return Attention(tuple(caches), write)
