"""Gemma 4 in GGUF files: keys by the kind of layer, names of its own tensors. No torch.

Full layers turn the first pairs of a head only: llama.cpp is told of the others by factors so large that they
stand still.
Source: ggml-org/llama.cpp, src/models/gemma4.cpp and conversion/gemma.py.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import FullHeadsConfig, OwnInputsConfig
from llmkit.model.gguf.keys import GgufKeys
from llmkit.model.gguf.rope import ROPE_FREQS
from llmkit.model.layer_sizes import head_sizes, kv_owner, mlp_width

GEMMA4 = "gemma4"
OUTSIDE = {
    **{
        "model.own_inputs.embed_tokens": "per_layer_token_embd",
        "model.own_inputs.norm": "per_layer_proj_norm",
    },
    "model.own_inputs.projection": "per_layer_model_proj",
}
"""Modules outside the layers that no other family has."""
_MODULES = {
    **{f"mlp.shared_expert.{one}_proj": f"ffn_{one}" for one in ("gate", "up", "down")},
    **{"own_input.gate": "inp_gate", "own_input.projection": "proj", "own_input.norm": "post_norm"},
    **{"mlp.norm_read": "pre_ffw_norm_2", "mlp.norm_mlp": "post_ffw_norm_1"},
    "mlp.norm_experts": "post_ffw_norm_2",
}
_PARAMETERS = {
    **{"mlp.gate.scale": "ffn_gate_inp.scale", "mlp.gate.per_expert_scale": "ffn_down_exps.scale"},
    "layer_scalar": "layer_output_scale.weight",
}
_CAP = 30.0
"""Of logits, where a file does not say it."""
_STILL = 1e30
"""What the frequency of a pair is divided by that does not turn."""


def gemma4_name(layer: str, inner: str) -> str | None:
    """What a file calls a layer's tensor; None where all families have it under one name."""
    module, _, kind = inner.rpartition(".")
    theirs = _PARAMETERS.get(inner) or (f"{_MODULES[module]}.{kind}" if module in _MODULES else None)
    return None if theirs is None else f"blk.{layer}.{theirs}"


def gemma4_metadata(config: ModelConfig) -> dict[str, MetadataValue]:
    """The keys of a model, in the place of those that other families have too.

    Raises:
        ConfigError: layers read the keys and values of others than llama.cpp lets them.
    """
    full, layers = config.full_heads, range(config.num_hidden_layers)
    assert full is not None
    _check_owners(config)
    sliding, own = set(config.sliding_layers), config.own_inputs
    window = config.sliding_window or config.max_position_embeddings
    attention, rope = f"{GEMMA4}.attention", f"{GEMMA4}.rope"
    keys: dict[str, MetadataValue] = {
        f"{GEMMA4}.feed_forward_length": Typed("u32", [mlp_width(config, layer) for layer in layers]),
        f"{GEMMA4}.embedding_length_per_layer_input": Typed("u32", 0 if own is None else own.width),
        f"{attention}.head_count_kv": Typed(
            "u32", [head_sizes(config, layer).num_key_value_heads for layer in layers]
        ),
        f"{attention}.shared_kv_layers": Typed("u32", config.shared_kv_layers),
        f"{attention}.sliding_window": Typed("u32", window),
        f"{attention}.sliding_window_pattern": Typed("bool", [layer in sliding for layer in layers]),
        f"{rope}.dimension_count": Typed("u32", full.head_dim),
        f"{rope}.dimension_count_swa": Typed("u32", config.head_dim),
        f"{rope}.freq_base_swa": Typed("f32", config.sliding_rope_theta or config.rope_theta),
    }
    for name in ("key_length", "value_length"):
        keys[f"{attention}.{name}"] = Typed("u32", full.head_dim)
        keys[f"{attention}.{name}_swa"] = Typed("u32", config.head_dim)
    keys[f"{GEMMA4}.final_logit_softcapping"] = Typed("f32", config.final_logit_softcapping or 0.0)
    return keys


def gemma4_tables(full: FullHeadsConfig) -> dict[str, list[float]]:
    """The tensor of what frequencies are divided by."""
    turned, still = full.rotary_dim // 2, (full.head_dim - full.rotary_dim) // 2
    return {f"{ROPE_FREQS}.weight": [1.0] * turned + [_STILL] * still}


def gemma4_sizes(keys: GgufKeys, layers: int) -> dict[str, Any]:
    """Widths of the MLPs, and how many layers read the keys and values of others: fields of ModelConfig.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    shared = keys.whole("attention.shared_kv_layers", 0)
    widths = _each(keys, "feed_forward_length", layers)
    first, last = widths[0], widths[-1]
    doubles = bool(shared) and last == 2 * first
    if widths != [first] * (layers - shared) + [last] * shared or not (doubles or last == first):
        keys.wrong("feed_forward_length", "one number, or twice as much in layers of shared_kv_layers")
    return {"intermediate_size": first, "shared_kv_layers": shared, "wide_shared_mlps": doubles}


def gemma4_heads(keys: GgufKeys, shapes: Container[str], layers: int) -> dict[str, Any]:
    """Heads by the kind of layer, without what tables of positions say: fields of ModelConfig.

    Args:
        keys: of the file.
        shapes: names of its tensors.
        layers: of the model.

    Raises:
        ConfigError: a key is missing or wrong, or layers of a kind have different heads.
    """
    slides = _each(keys, "attention.sliding_window_pattern", layers)
    counts = _each(keys, "attention.head_count_kv", layers)
    by_kind = dict(pairs := {*zip(slides, counts, strict=True)})
    if len(pairs) > len(by_kind) or False not in by_kind:
        keys.wrong("attention.head_count_kv", "one number for layers that slide, and one for the others")
    width = keys.whole("attention.key_length")
    own = f"blk.{slides.index(False)}.attn_v.weight"
    return {
        "head_dim": keys.whole("attention.key_length_swa"),
        "num_key_value_heads": by_kind.get(True, by_kind[False]),
        "full_heads": FullHeadsConfig(
            head_dim=width,
            num_key_value_heads=by_kind[False],
            rotary_dim=width,
            values_are_keys=own not in shapes,
        ),
    }


def gemma4_rope(
    keys: GgufKeys, full: FullHeadsConfig, tables: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """How far heads are rotated, and by which bases: fields of ModelConfig.

    Raises:
        ConfigError: a table says what is not supported.
    """
    usual = FullHeadsConfig(**{**vars(full), "rotary_dim": max(2, full.head_dim // 8 * 2)})
    # without tables, of headers alone, a quarter of them as in all that are published
    factors = tables.get(f"{ROPE_FREQS}.weight", gemma4_tables(usual)[f"{ROPE_FREQS}.weight"])
    turned = sum(one == 1 for one in factors)
    if [one == 1 for one in factors] != [True] * turned + [False] * (len(factors) - turned) or any(
        1 != one < _STILL / 2 for one in factors
    ):
        raise ConfigError(
            f"{keys.source}: {ROPE_FREQS} is not 1 for a head's first pairs and {_STILL:g} for others",
            hint="convert the model again from where it was published",
        )
    heads = FullHeadsConfig(**{**vars(full), "rotary_dim": 2 * turned})
    return {
        "rope_theta": float(keys.number("rope.freq_base", 1_000_000.0)),
        "sliding_rope_theta": float(keys.number("rope.freq_base_swa", 10_000.0)),
        "full_heads": heads,
    }


def gemma4_others(keys: GgufKeys, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Embeddings of each layer's own, and the cap of logits: fields of ModelConfig."""
    width = keys.whole("embedding_length_per_layer_input", 0)
    table = shapes.get("per_layer_token_embd.weight", (0, 0))
    cap = float(keys.number("final_logit_softcapping", _CAP)) or None
    own = OwnInputsConfig(vocab_size=table[-1], width=width) if width else None
    return {"attention_scale": 1.0, "own_inputs": own, "final_logit_softcapping": cap}


def _each(keys: GgufKeys, name: str, layers: int) -> list[Any]:
    found = keys.listed(name, layers)
    if found is None:
        keys.wrong(name, "there")
    return found if isinstance(found, list) else [found] * layers


def _check_owners(config: ModelConfig) -> None:
    """llama.cpp takes the last layer with keys of its own to see everything, and the one before to slide."""
    owners = config.num_kv_owners
    for layer in range(owners, config.num_hidden_layers):
        taken = owners - (2 if layer in config.sliding_layers else 1)
        if kv_owner(config, layer) != taken:
            raise ConfigError(
                f"llama.cpp computes {GEMMA4} models whose layer {layer} reads the keys of layer {taken} "
                f"(found {kv_owner(config, layer)})",
                hint="keep it as a folder; llama.cpp cannot run this model",
            )
