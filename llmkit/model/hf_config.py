"""A Hugging Face config.json read as, and written from, the fields of ModelConfig.

Reading takes what transformers 4 and 5 write (`torch_dtype` or `dtype`; `rope_theta` with `rope_scaling`, or
`rope_parameters`) and fills a missing key with the default of the family's class in transformers. Writing
gives every key that decides the arithmetic, in both forms: no reader falls back on a default of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from llmkit.errors import ConfigError, nearest
from llmkit.model.families import FAMILIES, ROPE_KEYS
from llmkit.model.foreign_keys import refuse_foreign

FORMAT_VERSION = "5.0.0"
"""The transformers release whose folder format is written, recorded as `transformers_version`."""
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    dict: "an object",
}
_T = TypeVar("_T", bound=bool | int | float | str | dict[str, Any])


def fields_from_hf(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The keyword arguments of ModelConfig that a config.json stands for.

    Args:
        config: the decoded JSON object.
        source: where it came from, for messages.

    Raises:
        ConfigError: a key is missing, or asks for arithmetic that is not implemented.
    """
    refuse_foreign(config, source)
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        guess = nearest(str(name), FAMILIES)
        raise ConfigError(
            f"{source}: model_type {name!r} is not supported (known: {', '.join(FAMILIES)})",
            hint=f"did you mean {guess}?" if guess else "use a model of one of these families",
        )
    keys = _Keys(config, source)
    fields = _read_gpt2(keys) if name == "gpt2" else _read_llama_like(name, keys)
    return fields | {
        "model_type": name,
        "vocab_size": keys.whole("vocab_size"),
        "initializer_range": keys.get("initializer_range", 0.02),
        "pad_token_id": keys.token("pad_token_id", None),
        "dtype": keys.get("dtype", keys.get("torch_dtype", "float32")),
    }


def fields_to_hf(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json for the fields of a ModelConfig."""
    name, eos = fields["model_type"], fields["eos_token_id"]
    return {
        "architectures": [FAMILIES[name].architecture],
        "model_type": name,
        "vocab_size": fields["vocab_size"],
        **(_write_gpt2(fields) if name == "gpt2" else _write_llama_like(fields)),
        "tie_word_embeddings": fields["tie_word_embeddings"],
        "initializer_range": fields["initializer_range"],
        "use_cache": True,
        "bos_token_id": fields["bos_token_id"],
        "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
        "pad_token_id": fields["pad_token_id"],
        "dtype": fields["dtype"],
        "torch_dtype": fields["dtype"],
        "transformers_version": FORMAT_VERSION,
    }


@dataclass(frozen=True)
class _Keys:
    """A config.json and its name, for look-ups that complain well."""

    config: Mapping[str, Any]
    source: str

    def whole(self, *names: str) -> int:
        """The whole number under the first of `names` that is there."""
        for name in names:
            if self.config.get(name) is not None:
                return self.get(name, 0)
        raise ConfigError(
            f"{self.source}: no {names[0]!r} (found: {', '.join(sorted(self.config)) or 'no keys'})",
            hint="give the config.json of a model folder",
        )

    def get(self, name: str, default: _T) -> _T:
        """The value under `name`, of the default's kind; the default where it is absent or null."""
        value = self.config.get(name)
        return default if value is None else self._checked(name, value, type(default))

    def token(self, name: str, default: int | None) -> int | None:
        """A special id, where null means that there is none; the default where it is absent."""
        value = self.config.get(name, default)
        return None if value is None else self._checked(name, value, int)

    def eos(self, default: int | None) -> int | tuple[int, ...] | None:
        """eos_token_id, which may be a list."""
        value = self.config.get("eos_token_id", default)
        if isinstance(value, list):
            return tuple(self._checked("eos_token_id", one, int) for one in value)
        return self.token("eos_token_id", default)

    def _checked(self, name: str, value: Any, kind: type[_T]) -> _T:
        allowed = (int, float) if kind is float else kind
        if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(
                f"{self.source}: {name} is not {_KINDS[kind]} (found {value!r})",
                hint="copy it from the model's original config.json",
            )
        return value  # type: ignore[return-value]  # an int for a float is as good


def _read_llama_like(name: str, keys: _Keys) -> dict[str, Any]:
    """llama, mistral, qwen2 and qwen3."""
    family, heads = FAMILIES[name], keys.whole("num_attention_heads")
    shared = None if "num_key_value_heads" in keys.config else family.num_key_value_heads
    max_positions = keys.get("max_position_embeddings", family.max_position_embeddings)
    theta, scaling = _read_rope(keys, max_positions)
    bias = name == "qwen2" or (name != "mistral" and keys.get("attention_bias", False))
    numbered = name in ("llama", "mistral")  # these classes have ids of their own where the key is absent
    return {
        "hidden_size": keys.whole("hidden_size"),
        "intermediate_size": keys.whole("intermediate_size"),
        "num_hidden_layers": keys.whole("num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.get("num_key_value_heads", shared or heads),
        "head_dim": keys.get("head_dim", family.head_dim or 0),
        "max_position_embeddings": max_positions,
        "hidden_act": keys.get("hidden_act", "silu"),
        "norm": "rms",
        "norm_eps": keys.get("rms_norm_eps", 1e-6),
        "position": "rope",
        "rope_theta": theta,
        "rope_scaling": scaling,
        "qk_norm": name == "qwen3",
        "attention_bias": bias,
        "output_bias": bias and name != "qwen2",
        "mlp_bias": name == "llama" and keys.get("mlp_bias", False),
        "gated_mlp": True,
        "tie_word_embeddings": keys.get("tie_word_embeddings", False),
        "bos_token_id": keys.token("bos_token_id", 1 if numbered else None),
        "eos_token_id": keys.eos(2 if numbered else None),
    }


def _write_llama_like(fields: Mapping[str, Any]) -> dict[str, Any]:
    sizes = (
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "head_dim", "max_position_embeddings", "hidden_act"),
    )
    name, scaling = fields["model_type"], fields["rope_scaling"]
    config: dict[str, Any] = {size: fields[size] for size in sizes} | {
        "rms_norm_eps": fields["norm_eps"],
        "rope_theta": fields["rope_theta"],
        "rope_scaling": scaling,
        "rope_parameters": {"rope_theta": fields["rope_theta"], **(scaling or {"rope_type": "default"})},
        "attention_bias": fields["attention_bias"],
        "attention_dropout": 0.0,
    }
    if name == "llama":
        config["mlp_bias"] = fields["mlp_bias"]
    else:
        config["sliding_window"] = None  # these classes assume 4096 where the key is absent
    if name in ("qwen2", "qwen3"):
        layers = fields["num_hidden_layers"]
        config |= {"use_sliding_window": False, "max_window_layers": layers}
        config["layer_types"] = ["full_attention"] * layers
    return config


def _read_gpt2(keys: _Keys) -> dict[str, Any]:
    hidden = keys.whole("n_embd", "hidden_size")
    return {
        "hidden_size": hidden,
        "intermediate_size": keys.get("n_inner", 4 * hidden),
        "num_hidden_layers": keys.whole("n_layer", "num_hidden_layers"),
        "num_attention_heads": keys.whole("n_head", "num_attention_heads"),
        "max_position_embeddings": keys.whole("n_positions", "max_position_embeddings", "n_ctx"),
        "hidden_act": keys.get("activation_function", "gelu_new"),
        "norm": "layer",
        "norm_eps": keys.get("layer_norm_epsilon", 1e-5),
        "position": keys.get("position_embedding_type", "learned"),
        "qk_norm": False,
        "attention_bias": True,
        "output_bias": True,
        "mlp_bias": True,
        "gated_mlp": False,
        "tie_word_embeddings": keys.get("tie_word_embeddings", True),
        "bos_token_id": keys.token("bos_token_id", 50256),
        "eos_token_id": keys.eos(50256),
    }


def _write_gpt2(fields: Mapping[str, Any]) -> dict[str, Any]:
    config = {
        "n_embd": fields["hidden_size"],
        "n_inner": fields["intermediate_size"],
        "n_layer": fields["num_hidden_layers"],
        "n_head": fields["num_attention_heads"],
        "n_positions": fields["max_position_embeddings"],
        "n_ctx": fields["max_position_embeddings"],
        "activation_function": fields["hidden_act"],
        "layer_norm_epsilon": fields["norm_eps"],
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    }
    if fields["position"] == "sinusoidal":  # others read wpe.weight, which holds the same table
        config["position_embedding_type"] = "sinusoidal"
    return config


def _read_rope(keys: _Keys, max_positions: int) -> tuple[float, dict[str, Any] | None]:
    """rope_theta and the scaling, from the keys of transformers 4 or 5; scaling None for plain RoPE."""
    key = "rope_scaling" if keys.get("rope_scaling", {}) else "rope_parameters"  # as transformers prefers
    settings = _Keys(keys.get(key, {}), f"{keys.source}: {key}")
    theta = float(settings.get("rope_theta", keys.get("rope_theta", 10_000.0)))
    kind = settings.get("rope_type", settings.get("type", "default"))
    partial = settings.get("partial_rotary_factor", keys.get("partial_rotary_factor", 1.0))
    if partial != 1.0:
        raise ConfigError(
            f"{keys.source}: partial_rotary_factor {partial} is not supported yet",
            hint="use a model whose heads are rotated whole",
        )
    if kind == "default":
        return theta, None
    if kind not in ROPE_KEYS:
        raise ConfigError(
            f"{keys.source}: {key} of type {kind!r} is not supported yet "
            f"(known: default, {', '.join(ROPE_KEYS)})",
            hint=f"set {key} to null to use the model within its original context only",
        )
    defaults = {"original_max_position_embeddings": max_positions}
    missing = [name for name in ROPE_KEYS[kind] if settings.config.get(name, defaults.get(name)) is None]
    if missing:
        raise ConfigError(
            f"{keys.source}: {key} of type {kind!r} lacks {', '.join(missing)}",
            hint="copy it from the model's original config.json",
        )
    return theta, {
        "rope_type": kind,
        **{name: settings.get(name, defaults.get(name, 0.0)) for name in ROPE_KEYS[kind]},
    }
