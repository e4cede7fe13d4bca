"""A decoder of Llama's shape: embedding, layers of attention and MLP between norms, last norm, head."""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.attention import AttentionRule, separate
from llmkit.estimate.families.mlp import MlpRule, gated
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Defaults, Reader, Sizes, assemble, read_sizes
from llmkit.model.keys import Keys


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What tells one family from another."""

    defaults: Defaults
    attention: AttentionRule = msgspec.field(default_factory=separate)
    mlp: MlpRule = msgspec.field(default_factory=gated)
    sizes: Callable[[Keys, Defaults], Sizes] = read_sizes
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    """Of a layer, by name; of hidden_size numbers each."""
    last_norm: str | None = "norm"
    norm_bias: bool = False
    no_second_norm: str | None = None
    """A key that takes the second norm away: one norm feeds both branches."""
    head_bias: bool = False
    other_keys: tuple[str, ...] = ()
    """Keys that the family has, and that change no size."""


def readers(forms: Mapping[str, Form]) -> dict[str, Reader]:
    """A reader for each family."""
    return {name: partial(read_form, form) for name, form in forms.items()}


def read_form(form: Form, keys: Keys, prefix: str) -> Architecture:
    """The architecture of a config.json.

    Args:
        form: its family.
        keys: the decoded file.
        prefix: what stands before the names of the tensors, in a model that holds this one.

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    keys.known(*form.other_keys)
    sizes = form.sizes(keys, form.defaults)
    attention, mlp = form.attention(keys, sizes), form.mlp(keys, sizes)
    norms = form.norms[:1] if form.no_second_norm and keys.flag(form.no_second_norm) else form.norms
    tied = keys.flag("tie_embedding", keys.flag("tie_word_embeddings", form.defaults.tied))  # LFM2's name
    D, V = sizes.hidden_size, sizes.vocab_size
    sheet = Sheet(prefix)
    sheet.tensor("model.embed_tokens.weight", (V, D), "embed_tokens", "embeddings")
    for number in range(sizes.layers):
        layer = sheet.within(f"model.layers.{number}.", number)
        attention.write(layer, number)
        mlp.write(layer, number)
        for name in norms:
            layer.norm(name, D, bias=form.norm_bias)
    if form.last_norm:
        sheet.norm(f"model.{form.last_norm}", D, bias=form.norm_bias)
    if not tied:
        sheet.linear("lm_head", V, D, "lm_head", "head")
    if form.head_bias:
        sheet.tensor("lm_head.bias", (V,), "bias", "head")
    return assemble(keys, sizes, sheet, attention.caches, tied=tied, mlp_width=mlp.width)
