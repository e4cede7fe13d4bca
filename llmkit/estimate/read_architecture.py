"""A config.json read as an Architecture: the family's reader is looked up by model_type."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from msgspec.structs import replace

from llmkit.errors import ConfigError, nearest, some_of
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.sizes import Reader
from llmkit.model.families.read import ALIASES
from llmkit.model.keys import Keys
from llmkit.model.rope_scaling import OWN_CONTEXT

_MODULES = {
    "llama_like": (
        *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "phi", "stablelm"),
        *("olmo", "olmo2", "olmo3", "smollm3", "granite", "cohere", "cohere2", "starcoder2"),
        *("ministral3", "hunyuan_v1_dense", "arcee", "apertus", "seed_oss", "helium"),
        *("ernie4_5", "glm", "glm4", "exaone4", "nemotron"),
    ),
    "sparse": (
        *("mixtral", "qwen2_moe", "qwen3_moe", "qwen3_next", "olmoe", "deepseek_v2", "deepseek_v3", "dots1"),
        *("glm4_moe", "glm4_moe_lite", "ernie4_5_moe", "minimax_m2", "granitemoe", "hunyuan_v1_moe"),
        *("gpt_oss", "llama4_text"),
    ),
    "hybrid": (
        *("granitemoehybrid", "bamba", "falcon_h1", "qwen3_5_text", "qwen3_5_moe_text", "lfm2"),
        "lfm2_moe",
    ),
    "gpt2": ("gpt2",),
    "neox_like": ("gpt_neox", "falcon"),
    "gemma3n": ("gemma3n_text",),
    "gemma4": ("gemma4_text",),
    "mamba": ("mamba", "mamba2"),
    "nemotron_h": ("nemotron_h",),
}
FAMILIES = {name: module for module, names in _MODULES.items() for name in names}
"""Every model_type, and the module of `families` that reads it: loaded by need, as all take long to load."""
WRAPPERS = {
    "gemma3": ("gemma3_text", "language_model."),
    "gemma3n": ("gemma3n_text", "model.language_model."),
    "gemma4": ("gemma4_text", "model.language_model."),
    "llama4": ("llama4_text", "language_model."),
    "mistral3": ("mistral", "language_model."),
    "qwen3_5": ("qwen3_5_text", ""),
    "qwen3_5_moe": ("qwen3_5_moe_text", ""),
}
"""Models with a language model as text_config: its model_type, and the beginning of its tensors' names."""
_SHARED_KEYS = ("tie_word_embeddings", "dtype", "torch_dtype", "quantization_config")
"""Read from the outer config where the inner one has none."""


def read_architecture(config: Mapping[str, Any], source: str = "config.json") -> Architecture:
    """The architecture that a Hugging Face config.json describes.

    Of a model for images or sound, the language model alone. Keys that change no size are ignored, and so
    is quantization_config: tensors are those of the model before it was quantised.

    Args:
        config: the decoded JSON object.
        source: where it came from, for messages.

    Raises:
        ConfigError: the model_type is unknown, a required key is missing, a value is no possible size, or an
            unknown key looks as if it changed a size; names the key.
    """
    config, prefix = _language_model(config, source)
    name = config.get("model_type")
    if name is None:
        raise ConfigError(
            f"{source}: no model_type (found: {some_of(sorted(config)) or 'nothing'})",
            hint="give a model's config.json, as it was published",
        )
    name = ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(name, str) or name not in FAMILIES:
        guess = nearest(str(name), FAMILIES)
        raise ConfigError(
            f"{source}: model_type {name!r} is not known here (known: {', '.join((*FAMILIES, *WRAPPERS))})",
            hint=f"did you mean {guess}?" if guess else "use a model of one of these families",
        )
    keys = Keys(config, source)
    architecture = readers_of(FAMILIES[name])[name](keys, prefix)
    keys.refuse_unknown(name)
    context = keys.optional(OWN_CONTEXT)
    return architecture if context is None else replace(architecture, max_position_embeddings=context)


def readers_of(module: str) -> dict[str, Reader]:
    """The readers of one module of `families`, by model_type."""
    readers: dict[str, Reader] = import_module(f"llmkit.estimate.families.{module}").READERS
    return readers


def _language_model(config: Mapping[str, Any], source: str) -> tuple[Mapping[str, Any], str]:
    """The config of the language model, and what stands before its tensors' names."""
    name = config.get("model_type")
    if not isinstance(name, str) or name not in WRAPPERS:
        return config, ""
    inner = config.get("text_config")
    if inner is None:
        raise ConfigError(
            f"{source}: no 'text_config' (found: {', '.join(sorted(config))})",
            hint=f"a model of type {name} holds its language model there",
        )
    if not isinstance(inner, Mapping):
        raise ConfigError(
            f"{source}: text_config is not an object (found {inner!r})",
            hint="copy it from the model's original config.json",
        )
    model_type, prefix = WRAPPERS[name]
    shared = {key: config[key] for key in _SHARED_KEYS if key in config}
    return {"model_type": model_type, **shared, **inner}, prefix
