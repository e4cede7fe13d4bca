"""The config.json that a GGUF file stands for: keys, what tensors show, what llama.cpp builds in. No torch.

Names of keys: ggml's docs/gguf.md; of architectures: llama.cpp's.
"""

from collections.abc import Mapping
from typing import Any

from llmkit.errors import ConfigError, nearest
from llmkit.formats.gguf.adapter import ADAPTER, IMATRIX
from llmkit.formats.gguf.header import GgufHeader
from llmkit.model.config import ModelConfig
from llmkit.model.families.parts import Fixed
from llmkit.model.families.table import FAMILIES
from llmkit.model.gguf.architectures import KNOWN, GgufArchitecture, families_of
from llmkit.model.gguf.delta import DELTA_ARCHITECTURES, read_delta
from llmkit.model.gguf.experts import has_shared_expert, is_sigmoid, read_experts
from llmkit.model.gguf.gemma4 import GEMMA4, gemma4_heads, gemma4_others, gemma4_rope, gemma4_sizes
from llmkit.model.gguf.heads import convolved_heads, latent_heads
from llmkit.model.gguf.keys import GgufKeys
from llmkit.model.gguf.llama4 import llama4_attention
from llmkit.model.gguf.mamba import (
    MAMBA_ARCHITECTURES,
    ONE_BRANCH,
    SIDE_BY_SIDE,
    other_eps,
    read_lone_mlps,
    read_mamba,
    read_side_by_side,
)
from llmkit.model.gguf.rope import Tables, read_growth, read_scaling
from llmkit.model.gguf.shown import EMBEDDING, shown, stored_dtype
from llmkit.model.rope_scaling import yarn_softmax_factor

ARCHITECTURE = "general.architecture"
OWN_TYPE = "llmkit.model_type"
"""Our own key: which of the families of one architecture the model came from."""
OWN_TIED = "llmkit.tie_word_embeddings"
"""Our own key: the head, which some architectures ask for, is the embedding once more."""
_IDS = {"bos_token_id": "bos_token_id", "pad_token_id": "padding_token_id"}
_LATENT = "deepseek2"
_GEMMAS = {"gemma2": 46, "gemma3": 62}
"""The 27B of each, told by its layers, divides scores by the root of hidden_size / heads, not of head_dim."""
_WINDOWS_ROTATE = ("cohere2", "exaone4")
"""Of these only layers that slide have positions; if there is no window, all."""
_WINDOWED = {"exaone4": (64,)}
"""Layers of the models whose windows llama.cpp looks at."""
_SOFTCAPS = {
    "gemma2": {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    "gemma3": {"attn_logit_softcapping": 0.0, "final_logit_softcapping": 0.0},
}
"""What llama.cpp takes where the keys are absent."""


def gguf_config(header: GgufHeader, source: str, tables: Tables | None = None) -> dict[str, Any]:
    """A file's config.json, as ModelConfig writes it.

    Args:
        header: the file's.
        source: its name, for messages.
        tables: values of the tensors that stretch positions (gguf_rope.TABLES), by name. Without them the
            config says nothing of Llama 3's and LongRoPE's scaling, which is of no consequence for sizes.

    Raises:
        ConfigError: an architecture, or something in it, that is not supported: it is named; or there is a
            vocabulary only.
    """
    return gguf_model_config(header, source, tables).to_hf()


def gguf_model_config(header: GgufHeader, source: str, tables: Tables | None = None) -> ModelConfig:
    """The same before it is written as JSON.

    Raises:
        ConfigError: as `gguf_config`.
    """
    if not header.tensors:
        raise ConfigError(
            f"{source}: a vocabulary only, without tensors",
            hint=f"name the model's own file, and this one as its tokenizer: -t {source}",
        )
    kind = header.metadata.get("general.type")
    if kind in (ADAPTER, IMATRIX):
        raise ConfigError(
            f"{source}: general.type is {kind!r}, and a model is asked for", hint="give the model's own file"
        )
    name = header.metadata.get(ARCHITECTURE)
    if not isinstance(name, str) or name not in KNOWN:
        close = nearest(str(name), KNOWN)
        raise ConfigError(
            f"{source}: {ARCHITECTURE} {name!r} is not supported (known: {', '.join(KNOWN)})",
            hint=f"did you mean {close}?" if close else "use a model of one of these",
        )
    if EMBEDDING not in (tensor.name for tensor in header.tensors):
        raise ConfigError(
            f"{source}: no tensor {EMBEDDING} (found {len(header.tensors)} tensors)",
            hint="convert the model again from where it was published",
        )
    keys = GgufKeys(header.metadata, name, source)
    shapes = {tensor.name: tensor.dims for tensor in header.tensors}
    model_type = _model_type(keys, shapes)
    try:
        return ModelConfig(**_fields(keys, model_type, header, shapes, tables or {}))
    except ConfigError as error:
        problem = error.problem if error.problem.startswith(source) else f"{source}: {error.problem}"
        raise ConfigError(problem, hint=error.hint) from None


def _model_type(keys: GgufKeys, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Which family of the architecture it is."""
    name = keys.architecture
    families = list(families_of(name))
    if name == "llama":
        sparse, slides = keys.whole("expert_count", 0) > 0, keys.whole("attention.sliding_window", 0) > 0
        families = ["mixtral"] if sparse else ["mistral"] if slides else ["llama", "mistral"]
    elif name == "olmo2":
        families = ["olmo3" if keys.whole("attention.sliding_window", 0) else "olmo2"]
    elif name == "granitemoe":
        families = ["granitemoehybrid" if has_shared_expert(keys) else "granitemoe"]
    elif name == _LATENT:
        biased = any(tensor.endswith(".exp_probs_b.bias") for tensor in shapes)
        families = ["deepseek_v3", "glm4_moe_lite"] if is_sigmoid(keys, biased) else ["deepseek_v2"]
    own = keys.metadata.get(OWN_TYPE)
    return own if isinstance(own, str) and own in families else families[0]


def _fields(
    keys: GgufKeys,
    model_type: str,
    header: GgufHeader,
    shapes: Mapping[str, tuple[int, ...]],
    tables: Tables,
) -> dict[str, Any]:
    """Fields of ModelConfig. What the family has anyway is taken from it, whatever tensors there are."""
    architecture = families_of(keys.architecture)[model_type]
    fields: dict[str, Any] = {"model_type": model_type, **_sizes(keys, shapes)}
    fields |= shown(shapes, keys.metadata.get(OWN_TIED))
    for part in FAMILIES[model_type].parts:
        if isinstance(part, Fixed):
            fields |= part.fields
    fields |= {"hidden_act": architecture.activations[0], **_heads(keys, fields, shapes), **_ids(keys)}
    fields["dtype"] = stored_dtype(header.tensors)
    norm = "layer_norm_rms_epsilon" if fields.get("norm", "rms") == "rms" else "layer_norm_epsilon"
    fields["norm_eps"] = keys.number(f"attention.{norm}", other_eps(keys))
    fields["experts"] = read_experts(keys, architecture, fields)
    fields |= _scales(keys, fields) | _windows(keys, architecture, fields)
    fields |= {"position": "rope", **architecture.fixed}
    if fields["position"] == "rope":
        fields |= _rope(keys, fields, tables)
    return fields


def layers_ahead(header: GgufHeader, source: str) -> int:
    """Layers after the model's own that predict further tokens: counted as blocks, and no part of the model.

    Raises:
        ConfigError: the key that says so holds something else.
    """
    return _ahead(GgufKeys(header.metadata, str(header.metadata.get(ARCHITECTURE)), source))


def _ahead(keys: GgufKeys) -> int:
    return keys.whole("nextn_predict_layers", 0)


def _sizes(keys: GgufKeys, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    layers = keys.whole("block_count") - _ahead(keys)
    if keys.architecture in ONE_BRANCH:
        feed = read_lone_mlps(keys, layers)
    elif keys.architecture == GEMMA4:
        feed = gemma4_sizes(keys, layers)
    else:  # files of models with experts alone may leave it out
        width = keys.optional("expert_feed_forward_length")
        feed = {"intermediate_size": keys.whole("feed_forward_length", width)}
    return {
        "vocab_size": shapes[EMBEDDING][-1],
        "hidden_size": keys.whole("embedding_length"),
        **feed,
        "num_hidden_layers": layers,
        "max_position_embeddings": keys.whole("context_length"),
    }


def _heads(
    keys: GgufKeys, fields: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    heads = keys.whole("attention.head_count")
    if keys.architecture == _LATENT:
        return latent_heads(keys, heads)
    default = 0 if fields["hidden_size"] % max(1, heads) else fields["hidden_size"] // max(1, heads)
    found: dict[str, Any] = {
        "num_attention_heads": heads,
        "num_key_value_heads": 0,
        "head_dim": keys.whole("attention.key_length", default),
    }
    if keys.whole("attention.value_length", found["head_dim"]) != found["head_dim"]:
        keys.wrong("attention.value_length", f"attention.key_length, {found['head_dim']}")
    if keys.architecture.startswith("lfm2"):
        found |= convolved_heads(keys, heads, fields["num_hidden_layers"])
    elif keys.architecture in DELTA_ARCHITECTURES:
        found |= read_delta(keys, heads, fields["num_hidden_layers"], _ahead(keys))
    elif keys.architecture in MAMBA_ARCHITECTURES:
        found |= read_mamba(keys, heads, fields["num_hidden_layers"], fields.get("lone_mlps") or ())
    elif keys.architecture == GEMMA4:
        found |= gemma4_heads(keys, shapes, fields["num_hidden_layers"]) | gemma4_others(keys, shapes)
    else:
        found["num_key_value_heads"] = keys.whole("attention.head_count_kv", heads)
    if keys.architecture == SIDE_BY_SIDE:
        norm = "blk.0.ssm_norm.weight" in shapes
        found |= read_side_by_side(keys, fields["num_hidden_layers"], norm=norm)
    if keys.architecture == "glm4moe" and "blk.0.attn_q_norm.weight" in shapes:
        found["qk_norm"] = "head"
    if keys.architecture == "stablelm":
        found["residual"] = "serial" if "blk.0.ffn_norm.weight" in shapes else "parallel_one_norm"
    if keys.architecture == "gptneox":
        found["residual"] = "parallel" if keys.flag("use_parallel_residual", True) else "serial"
    return found


def _ids(keys: GgufKeys) -> dict[str, Any]:
    """Special ids: the tokenizer's."""
    tokenizer = GgufKeys(keys.metadata, "tokenizer.ggml", keys.source)
    ids = {field: tokenizer.optional(key) for field, key in _IDS.items()}
    ends = [tokenizer.optional(f"{what}_token_id") for what in ("eos", "eot", "eom")]
    different = tuple(dict.fromkeys(one for one in ends if one is not None))
    return {**ids, "eos_token_id": different[0] if len(different) == 1 else different or None}


def _scales(keys: GgufKeys, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Factors and softcaps, as far as the architecture has them."""
    name, hidden, heads = keys.architecture, fields["hidden_size"], fields["num_attention_heads"]
    if name.startswith("granite"):
        rotates = name == "granitemoe" or keys.flag("rope.scaling.finetuned", True)
        return {
            "no_rope_layers": () if rotates else tuple(range(fields["num_hidden_layers"])),
            "attention_scale": float(keys.number("attention.scale", fields["head_dim"] ** -0.5)),
            "embedding_scale": float(keys.number("embedding_scale", 1.0)),
            "residual_scale": float(keys.number("residual_scale", 1.0)),
            "logit_scale": 1.0 / (float(keys.number("logit_scale", 1.0)) or 1.0),
        }
    if name in ("command-r", "cohere2"):
        return {"logit_scale": float(keys.number("logit_scale"))}
    if not name.startswith("gemma"):
        return {}
    scales: dict[str, Any] = {"embedding_scale": hidden**0.5}
    if name in _GEMMAS:
        wide = fields["num_hidden_layers"] == _GEMMAS[name]
        scales["attention_scale"] = (hidden / heads if wide else fields["head_dim"]) ** -0.5
        for field, default in _SOFTCAPS[name].items():
            scales[field] = float(keys.number(field, default)) or None
    return scales


def _windows(keys: GgufKeys, architecture: GgufArchitecture, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Which layers slide, and how far they see."""
    layers = fields["num_hidden_layers"]
    if architecture.name == "llama4":
        return llama4_attention(keys, layers)
    rotates = {"no_rope_layers": tuple(range(3, layers, 4))} if architecture.name == "smollm3" else {}
    window = keys.whole("attention.sliding_window", 0)
    seen = window and layers in _WINDOWED.get(architecture.name, (layers,))
    if architecture.windows == "none" or not seen:
        return rotates
    pattern = keys.listed("attention.sliding_window_pattern", layers)
    if isinstance(pattern, list):
        sliding = tuple(layer for layer, slides in enumerate(pattern) if slides)
    else:
        period = architecture.window_period if pattern is None else pattern
        if architecture.name in ("olmo2", "exaone4"):
            period = 4
        sliding = tuple(layer for layer in range(layers) if not period or layer % period < period - 1)
    if architecture.name in _WINDOWS_ROTATE:
        rotates = {"no_rope_layers": tuple(layer for layer in range(layers) if layer not in sliding)}
    return rotates | {"sliding_layers": sliding, "sliding_window": window if sliding else None}


def _rope(keys: GgufKeys, fields: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    if (full := fields.get("full_heads")) is not None:
        return gemma4_rope(keys, full, tables)
    latent = fields.get("latent")
    theta = float(keys.number("rope.freq_base", 10_000.0))
    width = keys.whole("rope.dimension_count", fields["head_dim"])
    scaling = read_scaling(
        keys, tables, theta=theta, rotary_dim=width, max_positions=fields["max_position_embeddings"]
    )
    found: dict[str, Any] = {"rope_theta": theta, "rope_scaling": scaling, "rotary_dim": width}
    if latent is not None:
        found["attention_scale"] = fields["head_dim"] ** -0.5 * yarn_softmax_factor(scaling)
    if keys.architecture == "gemma3":
        found["sliding_rope_theta"] = float(keys.number("rope.freq_base_swa", 10_000.0))
    elif fields["model_type"] == "olmo3":
        found["sliding_rope_theta"] = theta
    elif keys.architecture == "mistral3":
        found |= read_growth(keys, fields["max_position_embeddings"])
    return found
