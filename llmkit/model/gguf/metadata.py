"""A model's shape as the keys of a GGUF file, such that llama.cpp computes what the model does. No torch.

What was written is read again, with all that llama.cpp has built in: a difference is an error, so that no
file looks like a model and computes another.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from llmkit.errors import ConfigError
from llmkit.formats.gguf.header import GgufHeader, GgufTensorInfo
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import LATENT_NORM_EPS, ExpertsConfig
from llmkit.model.gguf.architectures import GgufArchitecture, gguf_architecture
from llmkit.model.gguf.config import ARCHITECTURE, OWN_TIED, OWN_TYPE, gguf_model_config
from llmkit.model.gguf.delta import delta_metadata
from llmkit.model.gguf.experts import experts_metadata
from llmkit.model.gguf.gemma4 import gemma4_metadata, gemma4_tables
from llmkit.model.gguf.mamba import mamba_metadata, one_branch_metadata
from llmkit.model.gguf.rope import growth_metadata, rope_metadata, rope_tables, same_scaling

_NOT_CARRIED = ("bos_token_id", "eos_token_id", "pad_token_id", "dtype", "initializer_range", "position")
"""Fields that are the tokenizer's, the tensors' or training's; sinusoids are read as learnt positions."""
_NOT_CARRIED_OF_EXPERTS = ("router_aux_loss_coef", "router_z_loss_coef")
_TOLERANCE = 1e-6
_LAYERS_OF_LITE = (26, 27)
"""By which llama.cpp tells DeepSeek models whose queries come straight from hidden_size."""


@dataclass(frozen=True)
class GgufShape:
    """A model's keys, the tensors that are made from them, and what llama.cpp does otherwise."""

    metadata: dict[str, MetadataValue]
    tables: dict[str, list[float]]
    """Tensors that stretch positions: (rotary_dim / 2,) float32."""
    lost: list[str]
    """A sentence each: no error, since most texts come out the same."""


def gguf_shape(config: ModelConfig, tensors: Iterable[GgufTensorInfo]) -> GgufShape:
    """The keys of a model.

    Args:
        config: of the model.
        tensors: that the file will have: what is there says more than the keys.

    Raises:
        ConfigError: llama.cpp cannot compute what the model does; the field is named.
    """
    architecture = gguf_architecture(config)
    _check_needs(config, architecture)
    metadata: dict[str, MetadataValue] = {ARCHITECTURE: architecture.name, "general.type": "model"}
    metadata |= _sizes(config, architecture.name) | _heads(config, architecture.name)
    metadata |= _scales(config, architecture.name) | _windows(config, architecture)
    if config.short_conv is not None:
        metadata[f"{architecture.name}.shortconv.l_cache"] = Typed("u32", config.short_conv.kernel)
    if config.delta is not None:
        metadata |= delta_metadata(
            architecture.name, config.delta, config.num_hidden_layers, config.rotary_dim
        )
    if config.mamba is not None:
        metadata |= mamba_metadata(architecture.name, config.mamba)
    if config.lone_mlps is not None:
        width = config.intermediate_size if config.experts is None else config.experts.intermediate_size
        metadata |= one_branch_metadata(
            architecture.name, width, config.num_hidden_layers, config.lone_mlps, config.norm_eps
        )
    if config.experts is not None:
        metadata |= experts_metadata(architecture.name, config.experts, config.num_hidden_layers)
    tables: dict[str, list[float]] = {}
    if config.position == "rope":
        width = config.rotary_dim
        metadata[f"{architecture.name}.rope.dimension_count"] = Typed("u32", width)
        metadata |= rope_metadata(
            architecture.name, config.rope_theta, config.rope_scaling, config.max_position_embeddings
        )
        tables = rope_tables(config.rope_scaling, config.rope_theta, width)
    if config.full_heads is not None:
        metadata |= gemma4_metadata(config)
        tables = gemma4_tables(config.full_heads)
    metadata[OWN_TYPE] = config.model_type
    if architecture.needs_head and config.tie_word_embeddings:
        metadata[OWN_TIED] = True
    if tables and not architecture.factor_tensors:
        assert config.rope_scaling is not None
        raise _cannot(config, "rope_scaling", config.rope_scaling["rope_type"], "of another kind")
    _check(config, metadata, [*tensors], tables)
    return GgufShape(metadata, tables, _lost(config, architecture))


def _sizes(config: ModelConfig, name: str) -> dict[str, MetadataValue]:
    norm = "layer_norm_rms_epsilon" if config.norm == "rms" else "layer_norm_epsilon"
    return {
        f"{name}.vocab_size": Typed("u32", config.vocab_size),
        f"{name}.block_count": Typed("u32", config.num_hidden_layers),
        f"{name}.context_length": Typed("u32", config.max_position_embeddings),
        f"{name}.embedding_length": Typed("u32", config.hidden_size),
        f"{name}.feed_forward_length": Typed("u32", config.intermediate_size),
        f"{name}.attention.{norm}": Typed("f32", config.norm_eps),
    }


def _heads(config: ModelConfig, name: str) -> dict[str, MetadataValue]:
    prefix, latent = f"{name}.attention", config.latent
    keys: dict[str, MetadataValue] = {f"{prefix}.head_count": Typed("u32", config.num_attention_heads)}
    if latent is None:
        shared, without = config.num_key_value_heads, () if config.delta else config.layers_without_keys
        each = [0 if layer in without else shared for layer in range(config.num_hidden_layers)]
        return keys | {
            f"{prefix}.head_count_kv": Typed("u32", each if without else shared),
            f"{prefix}.key_length": Typed("u32", config.head_dim),
            f"{prefix}.value_length": Typed("u32", config.head_dim),
        }
    if latent.q_lora_rank:
        keys[f"{prefix}.q_lora_rank"] = Typed("u32", latent.q_lora_rank)
    return keys | {  # keys and values are the latents themselves, which all heads share
        f"{prefix}.head_count_kv": Typed("u32", 1),
        f"{prefix}.kv_lora_rank": Typed("u32", latent.kv_lora_rank),
        f"{prefix}.key_length": Typed("u32", latent.kv_lora_rank + latent.qk_rope_head_dim),
        f"{prefix}.value_length": Typed("u32", latent.kv_lora_rank),
        f"{prefix}.key_length_mla": Typed("u32", latent.qk_nope_head_dim + latent.qk_rope_head_dim),
        f"{prefix}.value_length_mla": Typed("u32", latent.v_head_dim),
    }


def _scales(config: ModelConfig, name: str) -> dict[str, MetadataValue]:
    """Factors, softcaps and switches, of the architectures that have keys for them."""
    keys: dict[str, MetadataValue] = {}
    if name.startswith("granite"):
        if config.no_rope_layers or config.mamba is not None:
            keys[f"{name}.rope.scaling.finetuned"] = not config.no_rope_layers
        scale = config.attention_scale or config.head_dim**-0.5
        keys |= {
            f"{name}.attention.scale": Typed("f32", scale),
            f"{name}.embedding_scale": Typed("f32", config.embedding_scale),
            f"{name}.residual_scale": Typed("f32", config.residual_scale),
            f"{name}.logit_scale": Typed("f32", 1.0 / config.logit_scale),  # a divisor, unlike command-r's
        }
    if name in ("command-r", "cohere2"):
        keys[f"{name}.logit_scale"] = Typed("f32", config.logit_scale)
    if name in ("gemma2", "gemma3"):
        for field in ("attn_logit_softcapping", "final_logit_softcapping"):
            if (value := getattr(config, field)) is not None:
                keys[f"{name}.{field}"] = Typed("f32", value)
    if name in ("gptneox", "stablelm"):
        keys[f"{name}.use_parallel_residual"] = config.residual != "serial"
    if name == "mistral3":
        keys |= growth_metadata(name, config.query_growth, config.query_growth_positions)
    if name == "gemma3" and config.sliding_rope_theta is not None:
        keys[f"{name}.rope.freq_base_swa"] = Typed("f32", config.sliding_rope_theta)
    return keys


def _windows(config: ModelConfig, architecture: GgufArchitecture) -> dict[str, MetadataValue]:
    prefix, layers = f"{architecture.name}.attention", config.num_hidden_layers
    if not config.sliding_layers or config.sliding_window is None:
        says_none = architecture.name in ("phi3", "llama4")
        return {f"{prefix}.sliding_window": Typed("u32", 0)} if says_none else {}
    sliding = set(config.sliding_layers)
    pattern: MetadataValue = Typed("bool", [layer in sliding for layer in range(layers)])
    if architecture.windows == "periodic":
        first = next((layer for layer in range(layers) if layer not in sliding), -1)
        pattern = Typed("u32", first + 1)
    return {
        f"{prefix}.sliding_window": Typed("u32", config.sliding_window),
        f"{prefix}.sliding_window_pattern": pattern,
    }


def _check_needs(config: ModelConfig, architecture: GgufArchitecture) -> None:
    """What llama.cpp asks of every file of the architecture."""
    for name, needed in architecture.needs.items():
        if (found := getattr(config, name)) != needed:
            raise _cannot(config, name, found, needed)
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    if architecture.needs_every_key and heads != kv_heads:
        raise _cannot(config, "num_key_value_heads", kv_heads, f"{heads}, num_attention_heads")
    if architecture.heads_fill_width and heads * config.head_dim != config.hidden_size:
        raise _cannot(config, "head_dim", config.head_dim, "hidden_size / num_attention_heads")
    delta = config.delta
    if delta is not None and delta.value_head_dim != delta.key_head_dim:
        found = f"values of {delta.value_head_dim} and keys of {delta.key_head_dim}"
        raise _cannot(config, "heads of the delta rule", found, "whose values are as long as keys")
    if config.experts is not None:
        _check_experts(config, config.experts, architecture)
    direct = config.latent is not None and not config.latent.q_lora_rank
    if direct and config.num_hidden_layers not in _LAYERS_OF_LITE:
        layers = config.num_hidden_layers
        raise _cannot(
            config, "q_lora_rank", f"none in {layers} layers", "in all but models of 26 or 27 layers"
        )


def _check_experts(config: ModelConfig, experts: ExpertsConfig, architecture: GgufArchitecture) -> None:
    if config.lone_mlps is not None and config.lone_mlps != experts.layers:
        found = f"{len(experts.layers)} of the {len(config.lone_mlps)} layers that are MLPs"
        raise _cannot(config, "experts", found, "in all of these")
    if architecture.needs_shared_expert and experts.layers and not experts.shared_intermediate_size:
        raise _cannot(config, "shared experts", "none", "of a width above 0")
    groups, chosen = experts.num_groups, experts.topk_groups
    if groups > 1 and not chosen < groups < experts.num_experts:
        found = f"{chosen} of {groups} in {experts.num_experts} experts"
        raise _cannot(config, "groups", found, "of several experts, of which a token uses some")


def _check(
    config: ModelConfig,
    metadata: dict[str, MetadataValue],
    tensors: list[GgufTensorInfo],
    tables: dict[str, list[float]],
) -> None:
    """Read it again, as llama.cpp would."""
    plain: dict[str, Any] = {
        key: value.value if isinstance(value, Typed) else value for key, value in metadata.items()
    }
    try:
        again = gguf_model_config(GgufHeader(3, plain, tuple(tensors), 0), "GGUF", tables)
    except ConfigError as error:
        raise ConfigError(
            f"llama.cpp's {plain[ARCHITECTURE]} models are not like this {config.model_type}: "
            + error.problem.removeprefix("GGUF: "),
            hint="keep it as a folder",
        ) from None
    for one in fields(config):
        if one.name in _NOT_CARRIED or (one.name == "intermediate_size" and _is_without_dense_mlps(config)):
            continue
        ours, theirs = getattr(config, one.name), getattr(again, one.name)
        if one.name in ("experts", "mamba") and ours is not None and theirs is not None:
            for part in fields(ours):
                if part.name not in _NOT_CARRIED_OF_EXPERTS:
                    _compare(config, part.name, getattr(ours, part.name), getattr(theirs, part.name))
        elif one.name == "rope_scaling":
            if not same_scaling(ours, theirs, config.max_position_embeddings):
                raise _cannot(config, one.name, ours, theirs)
        elif one.name == "hidden_act":
            if ours not in gguf_architecture(config).activations:
                raise _cannot(config, one.name, ours, theirs)
        elif one.name == "attention_scale":
            default = config.head_dim**-0.5
            _compare(config, one.name, ours or default, theirs or default)
        else:
            _compare(config, one.name, ours, theirs)


def _is_without_dense_mlps(config: ModelConfig) -> bool:
    """Whether intermediate_size is no tensor's: each layer is one branch, and all MLPs are experts."""
    return config.experts is not None and config.lone_mlps == config.experts.layers


def _compare(config: ModelConfig, name: str, ours: Any, theirs: Any) -> None:
    if isinstance(ours, float) and isinstance(theirs, float | int):
        if math.isclose(ours, theirs, rel_tol=_TOLERANCE):
            return
    elif ours == theirs:
        return
    raise _cannot(config, name, ours, theirs)


def _cannot(config: ModelConfig, name: str, ours: Any, theirs: Any) -> ConfigError:
    arch = gguf_architecture(config).name
    return ConfigError(
        f"llama.cpp computes {arch} models with {name} {theirs} (found {ours})",
        hint="keep it as a folder; llama.cpp cannot run this model",
    )


def _lost(config: ModelConfig, architecture: GgufArchitecture) -> list[str]:
    lost = []
    if config.sliding_layers and not architecture.seen_windows:
        lost.append(
            f"llama.cpp reads all of a text in {architecture.name} models, and this one the last "
            f"{config.sliding_window} tokens: longer texts come out otherwise"
        )
    scaling = config.rope_scaling or {}
    if scaling.get("rope_type") == "longrope" and scaling["short_factor"] != scaling["long_factor"]:
        lost.append(
            "llama.cpp takes the factors for long texts by the context that it is started with, "
            "not by the length of the text"
        )
    if scaling.get("truncate") is False:
        lost.append("llama.cpp rounds where YaRN's ramp begins and ends to whole pairs")
    if config.model_type == "gpt_neox" and config.hidden_act == "gelu":
        lost.append("llama.cpp computes GELU with tanh, which is up to 0.0005 off")
    if config.latent is not None and not math.isclose(config.norm_eps, LATENT_NORM_EPS):
        lost.append(f"llama.cpp's inner norms have {config.norm_eps:g} for {LATENT_NORM_EPS:g}")
    return lost
