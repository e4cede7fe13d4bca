"""A Hugging Face config.json to the fields of ModelConfig, and back."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from llmkit.errors import ConfigError, nearest, some_of
from llmkit.model.families.parts import Fields
from llmkit.model.families.table import FAMILIES
from llmkit.model.keys import Keys
from llmkit.model.quantised.section import quantised_section
from llmkit.model.rope_scaling import ORIGINAL, OWN_CONTEXT, is_dynamic

FORMAT_VERSION = "5.0.0"
"""The transformers release whose folder format is written, recorded as `transformers_version`."""
WRAPPERS = {
    **{"gemma3": "gemma3_text", "gemma4": "gemma4_text", "mistral3": "mistral"},
    **{"llama4": "llama4_text", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text"},
}
"""Models that hold a language model as text_config, and its model_type where that does not say it."""
ALIASES = {"kimi_k2": "deepseek_v3"}
"""Names that published files give to another family's models."""
_SHARED = ("tie_word_embeddings", "dtype", "torch_dtype", "eos_token_id", "bos_token_id", "pad_token_id")
"""Read from the outer config where the inner one has none."""


def fields_from_hf(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The keyword arguments of ModelConfig that a config.json stands for.

    What transformers 4 and 5 write is read (`torch_dtype` or `dtype`; `rope_theta` with `rope_scaling`, or
    `rope_parameters`), and a missing key has the default of the family's class in transformers.

    Args:
        config: the decoded JSON object.
        source: where it came from, for messages.

    Raises:
        ConfigError: a key is missing, or asks for arithmetic that is not implemented.
    """
    whole, config = config, _language_model(config, source)
    name = config.get("model_type")
    if name is None:
        raise ConfigError(
            f"{source}: no model_type (found: {some_of(sorted(config)) or 'nothing'})",
            hint="give a model's config.json, as it was published",
        )
    name = ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(name, str) or name not in FAMILIES:
        published = whole.get("architectures")  # which nobody writes by hand: the name is no slip
        guess = None if published else nearest(str(name), FAMILIES)
        raise ConfigError(
            f"{source}: model_type {name!r} is not supported (known: {', '.join(FAMILIES)})",
            hint=f"did you mean {guess}?" if guess else "use a model of one of these families",
        )
    if quantised_section(whole) is not None:
        from llmkit.model.quantised.quantisation import quantisation  # loads numpy, which few configs need

        quantisation(whole, source)  # refuses what quantised/stored.py could not read
    keys = Keys(config, source)
    dtype = keys.word("dtype", "torch_dtype", default="float32")
    deviation = keys.number("initializer_range", default=0.02)
    fields = FAMILIES[name].read(keys, name)
    if is_dynamic(fields.get("rope_scaling")):
        fields["max_position_embeddings"] = keys.whole(OWN_CONTEXT, default=fields["max_position_embeddings"])
    return {"model_type": name, **fields, "initializer_range": deviation, "dtype": dtype}


def fields_to_hf(fields: Fields) -> dict[str, Any]:
    """The config.json of a ModelConfig: all that decides the arithmetic, as transformers 4 and 5 want it."""
    name = fields["model_type"]
    family = FAMILIES[name]
    scaling = deepcopy(fields["rope_scaling"])  # whoever has it may write into it
    fields = {**fields, "rope_scaling": scaling}
    own = {}
    if is_dynamic(scaling) and scaling[ORIGINAL] != fields["max_position_embeddings"]:
        own[OWN_CONTEXT] = fields["max_position_embeddings"]
        fields["max_position_embeddings"] = scaling[ORIGINAL]
    return {
        "architectures": [family.architecture],
        "model_type": name,
        **family.write(fields),
        **own,
        "initializer_range": fields["initializer_range"],
        "use_cache": True,
        "dtype": fields["dtype"],
        "torch_dtype": fields["dtype"],
        "transformers_version": FORMAT_VERSION,
    }


def _language_model(config: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The config of the language model inside a model for images and text."""
    name = config.get("model_type")
    inner = config.get("text_config")
    if not isinstance(name, str) or name not in WRAPPERS or not isinstance(inner, Mapping):
        if inner:
            raise ConfigError(
                f"{source}: text_config (a text model nested in a larger one) is not supported for {name!r}",
                hint=f"give a language model, or one of {', '.join(WRAPPERS)}",
            )
        return config
    outer = {key: config[key] for key in _SHARED if config.get(key) is not None}
    return {"model_type": WRAPPERS[name], **outer, **inner}
