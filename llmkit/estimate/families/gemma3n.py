"""Gemma 3n's text model.

The last layers read the keys and values of earlier ones, each layer has an embedding of its own, and a token
has several hidden states (AltUp) and a low-rank side branch (LAuReL).

D hidden_size, H query heads, K key/value heads, E head_dim, L layers, P numbers of a layer's own embedding,
A hidden states, R rank of the side branch.

Source: the class in transformers 5.24; AltUp arXiv:2301.13310, LAuReL arXiv:2411.07501.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.families.mlp import write_gated
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Defaults, Reader, assemble, plain_cache, read_sizes
from llmkit.model.families.gemma4 import owners_of_keys
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
    kinds, window = every(5, 512)(keys, L)
    caches = shared_caches(
        [plain_cache(sizes, kind, window) for kind in kinds], owners_of_keys(keys, kinds, default_shared=15)
    )

    sheet = Sheet(prefix or "model.")
    sheet.tensor("embed_tokens.weight", (V, D), "embed_tokens", "embeddings")
    write_own_table(sheet, keys, L, D, P)
    for number, (width, cache) in enumerate(zip(widths, caches, strict=True)):
        layer = sheet.within(f"layers.{number}.", number)
        write_attention(layer.within("self_attn."), D, cache, biased)
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


def shared_caches(caches: Sequence[LayerCache], owners: int) -> tuple[LayerCache, ...]:
    """Those behind the first `owners` layers read what the last earlier layer of their kind keeps."""
    return (*caches[:owners], *(replace(cache, kind="shared") for cache in caches[owners:]))


def write_own_table(sheet: Sheet, keys: Keys, layers: int, hidden: int, own: int) -> None:
    """The embeddings that all layers have of their own, `own` numbers each, and what is made of the first."""
    rows = keys.whole("vocab_size_per_layer_input", default=262_144)
    sheet.tensor("embed_tokens_per_layer.weight", (rows, layers * own), "embed_tokens", "embeddings")
    sheet.linear("per_layer_model_projection", layers * own, hidden, "other", "embeddings")
    sheet.norm("per_layer_projection_norm", own)


def write_own(layer: Sheet, hidden: int, own: int) -> None:
    """What takes a layer's own embedding in."""
    layer.linear("per_layer_input_gate", own, hidden, "other", "mlp")
    layer.linear("per_layer_projection", hidden, own, "other", "mlp")
    layer.norm("post_per_layer_input_norm", hidden)


def write_norms(layer: Sheet, hidden: int) -> None:
    """The four of a layer."""
    for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        layer.norm(f"{norm}_layernorm", hidden)


def write_attention(
    sheet: Sheet, hidden: int, cache: LayerCache, biased: bool, *, values: bool = True
) -> None:
    """A layer's attention, by what it keeps; `values`: whether they have a matrix of their own."""
    D, H, K, E = hidden, cache.query_heads, cache.kv_heads, cache.key_dim
    sheet.linear("q_proj", H * E, D, "q_proj", "attention", bias=biased)
    sheet.norm("q_norm", E)
    if cache.kind != "shared":
        for name in ("k_proj", "v_proj") if values else ("k_proj",):
            sheet.linear(name, K * E, D, name, "attention", bias=biased)
        sheet.norm("k_norm", E)
    sheet.linear("o_proj", D, H * E, "o_proj", "attention", bias=biased)


def _write_side_branches(keys: Keys, layer: Sheet, hidden: int) -> None:
    D, P, A = hidden, *_own_and_altup(keys)
    R = keys.whole("laurel_rank", default=64)
    write_norms(layer, D)
    layer.tensor("altup.correct_output_scale", (D,), "other", "mlp")
    layer.linear("altup.correction_coefs", A, A, "other", "mlp")
    layer.linear("altup.prediction_coefs", A * A, A, "other", "mlp")
    layer.linear("altup.modality_router", A, D, "other", "mlp")
    layer.norm("altup.router_norm", D)
    layer.linear("laurel.linear_left", R, D, "other", "mlp")
    layer.linear("laurel.linear_right", D, R, "other", "mlp")
    layer.norm("laurel.post_laurel_norm", D)
    write_own(layer, D, P)


READERS: dict[str, Reader] = {"gemma3n_text": read_gemma3n}
