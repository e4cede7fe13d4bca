"""Gemma 3n's text model.

The last layers read the keys and values of earlier ones, each layer has an embedding of its own, and a token
has several hidden states (AltUp) and a low-rank side branch (LAuReL).

D hidden_size, H query heads, K key/value heads, E head_dim, L layers, P numbers of a layer's own embedding,
A hidden states, R rank of the side branch.

Source: the class in transformers 5.24; AltUp arXiv:2301.13310, LAuReL arXiv:2411.07501.
"""

from msgspec.structs import replace

from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.families.mlp import write_gated
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Defaults, Reader, Sizes, assemble, plain_cache, read_sizes
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import every

DEFAULTS = Defaults(max_positions=32_768, heads=8, kv_heads=2, head_dim=256, vocab_size=262_400, tied=True)


def read_gemma3n(keys: Keys, prefix: str) -> Architecture:
    """The architecture of the text model of a Gemma 3n.

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    sizes = read_sizes(keys, DEFAULTS)
    D, V, L = sizes.hidden_size, sizes.vocab_size, sizes.layers
    widths = keys.per_layer("intermediate_size", L)
    P, A = _own_and_altup(keys)
    biased, tied = keys.flag("attention_bias"), keys.flag("tie_word_embeddings", True)
    caches = _caches(keys, sizes)

    sheet = Sheet(prefix or "model.")
    sheet.tensor("embed_tokens.weight", (V, D), "embed_tokens", "embeddings")
    own = (keys.whole("vocab_size_per_layer_input", default=262_144), L * P)
    sheet.tensor("embed_tokens_per_layer.weight", own, "embed_tokens", "embeddings")
    sheet.linear("per_layer_model_projection", L * P, D, "other", "embeddings")
    sheet.norm("per_layer_projection_norm", P)
    for number, (width, cache) in enumerate(zip(widths, caches, strict=True)):
        layer = sheet.within(f"layers.{number}.", number)
        _write_attention(layer.within("self_attn."), sizes, biased, shared=cache.kind == "shared")
        write_gated(layer, "mlp", D, width)
        _write_side_branches(keys, layer, D)
    for way in ("altup_projections", "altup_unembed_projections"):
        if A > 1:
            sheet.linear(f"{way}.*", D, D, "other", "mlp", copies=A - 1)
    sheet.norm("norm", D)
    if not tied:
        Sheet(tensors=sheet.tensors).linear("lm_head", V, D, "lm_head", "head")
    return assemble(keys, sizes, sheet, caches, tied=tied, mlp_width=max(widths))


def _own_and_altup(keys: Keys) -> tuple[int, int]:
    return keys.whole("hidden_size_per_layer_input", default=256), keys.whole("altup_num_inputs", default=4)


def _caches(keys: Keys, sizes: Sizes) -> tuple[LayerCache, ...]:
    """The last num_kv_shared_layers layers read what the last earlier layer of their kind keeps."""
    kinds, window = every(5, 512)(keys, sizes.layers)
    owners = sizes.layers - keys.count("num_kv_shared_layers", 15)
    if owners < 1 or not set(kinds[owners:]) <= set(kinds[:owners]):
        keys.wrong("num_kv_shared_layers", "a number that leaves a layer of each kind with keys and values")
    caches = [plain_cache(sizes, kind, window) for kind in kinds]
    shared = [replace(cache, kind="shared") for cache in caches[owners:]]
    return (*caches[:owners], *shared)


def _write_attention(sheet: Sheet, sizes: Sizes, biased: bool, *, shared: bool) -> None:
    D, H, K, E = sizes.hidden_size, sizes.heads, sizes.kv_heads, sizes.head_dim
    sheet.linear("q_proj", H * E, D, "q_proj", "attention", bias=biased)
    sheet.norm("q_norm", E)
    if not shared:
        for name in ("k_proj", "v_proj"):
            sheet.linear(name, K * E, D, name, "attention", bias=biased)
        sheet.norm("k_norm", E)
    sheet.linear("o_proj", D, H * E, "o_proj", "attention", bias=biased)


def _write_side_branches(keys: Keys, layer: Sheet, hidden: int) -> None:
    D, P, A = hidden, *_own_and_altup(keys)
    R = keys.whole("laurel_rank", default=64)
    for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        layer.norm(f"{norm}_layernorm", D)
    layer.tensor("altup.correct_output_scale", (D,), "other", "mlp")
    layer.linear("altup.correction_coefs", A, A, "other", "mlp")
    layer.linear("altup.prediction_coefs", A * A, A, "other", "mlp")
    layer.linear("altup.modality_router", A, D, "other", "mlp")
    layer.norm("altup.router_norm", D)
    layer.linear("laurel.linear_left", R, D, "other", "mlp")
    layer.linear("laurel.linear_right", D, R, "other", "mlp")
    layer.norm("laurel.post_laurel_norm", D)
    layer.linear("per_layer_input_gate", P, D, "other", "mlp")
    layer.linear("per_layer_projection", D, P, "other", "mlp")
    layer.norm("post_per_layer_input_norm", D)


READERS: dict[str, Reader] = {"gemma3n_text": read_gemma3n}
