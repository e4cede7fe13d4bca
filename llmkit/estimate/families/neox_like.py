"""GPT-NeoX and Falcon: q, k and v in one matrix, LayerNorm, an MLP of two matrices.

D hidden_size, F the MLP's width, H query heads, K key/value heads, E head_dim.
"""

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Reader, Sizes, assemble, plain_cache, split_heads
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import no_window


def read_gpt_neox(keys: Keys, prefix: str) -> Architecture:
    """The architecture of a GPT-NeoX (Pythia) config.json; the head is `embed_out` in its files.

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    heads = keys.whole("num_attention_heads")
    if keys.whole("num_key_value_heads", default=heads) != heads:  # a copy that some exporters add
        keys.wrong("num_key_value_heads", f"num_attention_heads, {heads}: the class knows no groups")
    sizes = _sizes(keys, heads)
    D, F = sizes.hidden_size, keys.whole("intermediate_size")
    biased, tied = keys.flag("attention_bias", True), keys.flag("tie_word_embeddings")
    sheet = Sheet(prefix)
    sheet.tensor("gpt_neox.embed_in.weight", (sizes.vocab_size, D), "embed_tokens", "embeddings")
    for number in range(sizes.layers):
        layer = sheet.within(f"gpt_neox.layers.{number}.", number)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            layer.norm(norm, D, bias=True)
        _write_matrices(layer, "attention", 3 * D, D, F, biases=(biased, True))
    sheet.norm("gpt_neox.final_layer_norm", D, bias=True)
    if not tied:
        sheet.linear("embed_out", sizes.vocab_size, D, "lm_head", "head")
    return _assemble(keys, sizes, sheet, tied, F)


def read_falcon(keys: Keys, prefix: str) -> Architecture:
    """The architecture of a Falcon config.json, of the old layout (7B: one kv head) or the new (40B: groups).

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    heads = keys.whole("num_attention_heads")
    groups, new = keys.whole("num_kv_heads", default=heads), keys.flag("new_decoder_architecture")
    one = keys.flag("multi_query", True) and not new
    keys.known("num_key_value_heads")  # a copy that some exporters add: num_kv_heads is what the class reads
    sizes = _sizes(keys, heads, 1 if one else groups if new else heads)
    D, F = sizes.hidden_size, keys.whole("ffn_hidden_size", default=4 * sizes.hidden_size)
    biased, tied = keys.flag("bias"), keys.flag("tie_word_embeddings", True)
    norms = _falcon_norms(keys, new)
    sheet = Sheet(prefix)
    sheet.tensor("transformer.word_embeddings.weight", (sizes.vocab_size, D), "embed_tokens", "embeddings")
    for number in range(sizes.layers):
        layer = sheet.within(f"transformer.h.{number}.", number)
        for norm in norms:
            layer.norm(norm, D, bias=True)
        fused = (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim
        _write_matrices(layer, "self_attention", fused, D, F, biases=(biased, biased))
    sheet.norm("transformer.ln_f", D, bias=True)
    if not tied:
        sheet.linear("lm_head", sizes.vocab_size, D, "lm_head", "head")
    return _assemble(keys, sizes, sheet, tied, F)


def _falcon_norms(keys: Keys, new: bool) -> tuple[str, ...]:
    parallel = keys.flag("parallel_attn", True)
    if keys.whole("num_ln_in_parallel_attn", default=2 if new else 1) == 2 and parallel:
        return ("ln_attn", "ln_mlp")
    return ("input_layernorm",) if parallel else ("input_layernorm", "post_attention_layernorm")


def _sizes(keys: Keys, heads: int, kv_heads: int | None = None) -> Sizes:
    D = keys.whole("hidden_size")
    no_window(keys, layers := keys.whole("num_hidden_layers"))
    return Sizes(
        hidden_size=D,
        vocab_size=keys.whole("vocab_size"),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=split_heads(keys, D, heads),
        max_positions=keys.whole("max_position_embeddings", default=2048),
    )


def _write_matrices(
    layer: Sheet, attention: str, fused: int, hidden: int, width: int, *, biases: tuple[bool, bool]
) -> None:
    """The four matrices of a layer; `biases`: of attention and of the MLP."""
    attention_bias, mlp_bias = biases
    sheet = layer.within(f"{attention}.")
    sheet.linear("query_key_value", fused, hidden, "qkv_proj", "attention", bias=attention_bias)
    sheet.linear("dense", hidden, hidden, "o_proj", "attention", bias=attention_bias)
    layer.linear("mlp.dense_h_to_4h", width, hidden, "up_proj", "mlp", bias=mlp_bias)
    layer.linear("mlp.dense_4h_to_h", hidden, width, "down_proj", "mlp", bias=mlp_bias)


def _assemble(keys: Keys, sizes: Sizes, sheet: Sheet, tied: bool, width: int) -> Architecture:
    caches = (plain_cache(sizes, "full", 0),) * sizes.layers
    return assemble(keys, sizes, sheet, caches, tied=tied, mlp_width=width)


READERS: dict[str, Reader] = {"gpt_neox": read_gpt_neox, "falcon": read_falcon}
