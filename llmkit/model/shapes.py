"""The names and shapes of a model's tensors on disk, from its config alone. No torch.

`Transformer(config).state_dict()` gives the same; a test compares them for every preset.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from llmkit.model.config import ModelConfig

Shape = tuple[int, ...]
_T = TypeVar("_T")
_TABLES = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")  # that old releases stored too


def tensor_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Every tensor that the safetensors of this config hold; a tied head is none."""
    return dict(_gpt2(config) if config.model_type == "gpt2" else _llama(config))


def stored_weights(stored: Mapping[str, _T], config: ModelConfig) -> dict[str, _T]:
    """What a model's files hold, under the names of `tensor_shapes`; tables that are no weights are left out.

    GPT-2 files exist with and without the prefix `transformer.`.
    """
    bare = config.model_type == "gpt2"
    return {
        f"transformer.{name}" if bare and not name.startswith(("transformer.", "lm_head.")) else name: one
        for name, one in stored.items()
        if not name.endswith(_TABLES)
    }


def _llama(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    D, F, V = config.hidden_size, config.intermediate_size, config.vocab_size
    Q, K = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    yield "model.embed_tokens.weight", (V, D)
    for layer in range(config.num_hidden_layers):
        block = f"model.layers.{layer}"
        yield f"{block}.input_layernorm.weight", (D,)
        for name, width in (("q_proj", Q), ("k_proj", K), ("v_proj", K)):
            yield from _linear(f"{block}.self_attn.{name}", (width, D), config.attention_bias)
        yield from _linear(f"{block}.self_attn.o_proj", (D, Q), config.output_bias)
        if config.qk_norm:
            yield f"{block}.self_attn.q_norm.weight", (config.head_dim,)
            yield f"{block}.self_attn.k_norm.weight", (config.head_dim,)
        yield f"{block}.post_attention_layernorm.weight", (D,)
        for name, shape in (("gate_proj", (F, D)), ("up_proj", (F, D)), ("down_proj", (D, F))):
            yield from _linear(f"{block}.mlp.{name}", shape, config.mlp_bias)
    yield "model.norm.weight", (D,)
    if not config.tie_word_embeddings:
        yield "lm_head.weight", (V, D)


def _gpt2(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    """Projections are stored as (in, out), q, k and v as one."""
    D, F, V = config.hidden_size, config.intermediate_size, config.vocab_size
    yield "transformer.wte.weight", (V, D)
    yield "transformer.wpe.weight", (config.max_position_embeddings, D)
    for layer in range(config.num_hidden_layers):
        block = f"transformer.h.{layer}"
        for name in ("ln_1", "ln_2"):
            yield from ((f"{block}.{name}.{kind}", (D,)) for kind in ("weight", "bias"))
        for name, shape in (
            *(("attn.c_attn", (D, 3 * D)), ("attn.c_proj", (D, D))),
            *(("mlp.c_fc", (D, F)), ("mlp.c_proj", (F, D))),
        ):
            yield f"{block}.{name}.weight", shape
            yield f"{block}.{name}.bias", shape[1:]
    yield from ((f"transformer.ln_f.{kind}", (D,)) for kind in ("weight", "bias"))
    if not config.tie_word_embeddings:
        yield "lm_head.weight", (V, D)


def _linear(name: str, shape: Shape, bias: bool) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]
