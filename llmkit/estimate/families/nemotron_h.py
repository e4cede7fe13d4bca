"""Nemotron-H: each layer is one branch alone behind one norm, Mamba-2, attention, an MLP or experts.

D hidden_size, H query heads, K key/value heads, E head_dim.
"""

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.experts import Experts, write_router
from llmkit.estimate.families.mamba import mamba2_cache, write_mamba2
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Reader, Sizes, assemble, plain_cache
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import Mamba2Config
from llmkit.model.families.nemotron_h import OneBranchLayers
from llmkit.model.keys import Keys


def read_nemotron_h(keys: Keys, prefix: str) -> Architecture:
    """The architecture of a Nemotron-H config.json.

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    found = OneBranchLayers().read(keys, {})
    keys.known("attention_bias", "sliding_window")
    sizes = _sizes(keys, found["num_hidden_layers"])
    F, biased = keys.whole("intermediate_size", default=21_504), keys.flag("mlp_bias")
    tied, table = keys.flag("tie_word_embeddings"), (sizes.vocab_size, sizes.hidden_size)
    mamba: Mamba2Config | None = found["mamba"]
    experts: ExpertsConfig | None = found["experts"]
    sheet, caches = Sheet(prefix), []
    sheet.tensor("backbone.embeddings.weight", table, "embed_tokens", "embeddings")
    for number in range(sizes.layers):
        layer = sheet.within(f"backbone.layers.{number}.", number)
        layer.norm("norm", sizes.hidden_size)
        mixer = layer.within("mixer.")
        if mamba is not None and number in mamba.layers:
            write_mamba2(mixer, sizes.hidden_size, mamba)
            caches.append(mamba2_cache(mamba))
        elif experts is not None and number in experts.layers:
            _write_experts(mixer, sizes.hidden_size, experts, biased=biased)
        elif number in found["lone_mlps"]:
            _write_mlp(mixer, sizes.hidden_size, F, biased=biased)
        else:
            _write_attention(mixer, sizes)
            caches.append(plain_cache(sizes, "full", 0))
    sheet.norm("backbone.norm_f", sizes.hidden_size)
    if not tied:
        sheet.linear("lm_head", *table, "lm_head", "head")
    return assemble(
        keys, sizes, sheet, tuple(caches), tied=tied, mlp_width=_mlp_width(F, found["lone_mlps"], experts)
    )


def _sizes(keys: Keys, layers: int) -> Sizes:
    heads, kv_heads = (
        keys.whole(f"num_{name}_heads", default=default)
        for name, default in (("attention", 32), ("key_value", 8))
    )
    return Sizes(
        hidden_size=keys.whole("hidden_size", default=4096),
        vocab_size=keys.whole("vocab_size", default=131_072),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=keys.whole("head_dim", default=128),
        max_positions=keys.whole("max_position_embeddings", default=4096),
    )


def _write_attention(mixer: Sheet, sizes: Sizes) -> None:
    D, H, K, E = sizes.hidden_size, sizes.heads, sizes.kv_heads, sizes.head_dim
    for name, heads in (("q_proj", H), ("k_proj", K), ("v_proj", K)):
        mixer.linear(name, heads * E, D, name, "attention")
    mixer.linear("o_proj", D, H * E, "o_proj", "attention")


def _write_mlp(sheet: Sheet, hidden: int, width: int, *, biased: bool) -> None:
    sheet.linear("up_proj", width, hidden, "up_proj", "mlp", bias=biased)
    sheet.linear("down_proj", hidden, width, "down_proj", "mlp", bias=biased)


def _write_experts(mixer: Sheet, hidden: int, experts: ExpertsConfig, *, biased: bool) -> None:
    routed = Experts(hidden, experts.intermediate_size, experts.num_experts, experts.num_experts_per_tok)
    write_router(mixer, "gate", routed)
    routed.write_one_by_one(mixer, (None, "up_proj", "down_proj"))
    _write_mlp(mixer.within("shared_experts."), hidden, experts.shared_intermediate_size, biased=biased)


def _mlp_width(dense: int, mlps: tuple[int, ...], experts: ExpertsConfig | None) -> int:
    """The widest activation of a token in an MLP, in the experts it uses, or in the shared one."""
    if experts is None:
        return dense
    used = experts.num_experts_per_tok * experts.intermediate_size
    widest = max(used, experts.shared_intermediate_size)
    return max(dense, widest) if set(mlps) - set(experts.layers) else widest


READERS: dict[str, Reader] = {"nemotron_h": read_nemotron_h}
