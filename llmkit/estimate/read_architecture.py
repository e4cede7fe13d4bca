"""A config.json read as an Architecture: the family's reader is looked up by model_type."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from llmkit.errors import ConfigError, nearest
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.form import read_form
from llmkit.estimate.families.gemma3n import read_gemma3n
from llmkit.estimate.families.gpt2 import read_gpt2
from llmkit.estimate.families.keys import Keys
from llmkit.estimate.families.llama_like import FORMS
from llmkit.estimate.families.mamba import read_mamba, read_mamba2
from llmkit.estimate.families.neox_like import read_falcon, read_gpt_neox

FAMILIES: dict[str, Callable[[Keys, str], Architecture]] = {
    **{name: partial(read_form, form) for name, form in FORMS.items()},
    "gpt2": read_gpt2,
    "gpt_neox": read_gpt_neox,
    "falcon": read_falcon,
    "gemma3n_text": read_gemma3n,
    "mamba": read_mamba,
    "mamba2": read_mamba2,
}
"""How each model_type is read: from its keys, and what stands before its tensors' names."""
WRAPPERS = {
    "gemma3": ("gemma3_text", "language_model."),
    "gemma3n": ("gemma3n_text", "model.language_model."),
    "llama4": ("llama4_text", "language_model."),
    "mistral3": ("mistral", "language_model."),
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
    if not isinstance(name, str) or name not in FAMILIES:
        guess = nearest(str(name), FAMILIES)
        raise ConfigError(
            f"{source}: model_type {name!r} is not known here (known: {', '.join((*FAMILIES, *WRAPPERS))})",
            hint=f"did you mean {guess}?" if guess else "use a model of one of these families",
        )
    keys = Keys(config, source)
    architecture = FAMILIES[name](keys, prefix)
    keys.refuse_unknown(name)
    return architecture


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
