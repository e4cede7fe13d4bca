"""Layers of Granite 4 and Bamba: Mamba-2 in some, attention in the others; then an MLP, or with Granite's a
shared one, with experts or alone.

D hidden_size, F intermediate_size.
"""

from llmkit.estimate.families.attention import Attention, separate
from llmkit.estimate.families.experts import Experts, write_granite
from llmkit.estimate.families.mamba import mamba2_cache, write_mamba2
from llmkit.estimate.families.mlp import Mlp
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes
from llmkit.model.config_states import Mamba2Config
from llmkit.model.families.falcon_h1 import Multipliers, SideBySide
from llmkit.model.families.mamba import MambaLayers
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import mamba_but_indices, mamba_but_some


def mamba_layers(keys: Keys, sizes: Sizes, *, by_index: bool = False) -> Attention:
    """A state layer keeps a matrix for each head, and the last inputs of its convolution.

    Args:
        keys: of the model.
        sizes: likewise.
        by_index: see `MambaLayers`.
    """
    found = {"num_hidden_layers": sizes.layers, "hidden_size": sizes.hidden_size, "hidden_act": "silu"}
    mamba: Mamba2Config | None = MambaLayers(by_index).read(keys, found).get("mamba")
    kinds = mamba_but_indices if by_index else mamba_but_some
    attention = separate(kinds=kinds, qkv_bias="attention_bias", output_bias="attention_bias")(keys, sizes)
    if mamba is None:
        return attention
    states, kept = mamba.layers, mamba2_cache(mamba)

    def write(layer: Sheet, number: int) -> None:
        if number in states:
            write_mamba2(layer.within("mamba."), sizes.hidden_size, mamba)
        else:
            attention.write(layer, number)

    caches = (kept if number in states else own for number, own in enumerate(attention.caches))
    return Attention(tuple(caches), write)


def side_by_side(keys: Keys, sizes: Sizes) -> Attention:
    """Falcon-H1: every layer attends, and keeps a state beside its keys and values."""
    keys.known("attention_bias", "mamba_proj_bias", "projectors_bias")
    found = {"num_hidden_layers": sizes.layers, "hidden_size": sizes.hidden_size, "hidden_act": "silu"}
    mamba: Mamba2Config = SideBySide().read(keys, found)["mamba"]
    Multipliers().read(keys, found)
    attention, state = separate()(keys, sizes), mamba2_cache(mamba)

    def write(layer: Sheet, number: int) -> None:
        write_mamba2(layer.within("mamba."), sizes.hidden_size, mamba)
        attention.write(layer, number)

    return Attention((*attention.caches, *(state,) * sizes.layers), write)


def granite_feed(keys: Keys, sizes: Sizes) -> Mlp:
    """An MLP that all tokens use, gate and up in one matrix; and experts, where there are some."""
    D, F = sizes.hidden_size, keys.whole("shared_intermediate_size", default=1024)
    width, used = keys.whole("intermediate_size"), keys.count("num_experts_per_tok", 2)
    count = keys.count("num_local_experts", 8)

    def write(layer: Sheet, number: int) -> None:
        if count:
            write_granite(layer, Experts(D, width, count, used))
        layer.linear("shared_mlp.input_linear", 2 * F, D, "gate_up_proj", "mlp")
        layer.linear("shared_mlp.output_linear", D, F, "down_proj", "mlp")

    return Mlp(max(F, used * width) if count else F, write)
