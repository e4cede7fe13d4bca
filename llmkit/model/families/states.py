"""Layers of state in config.json: Qwen3-Next, Qwen3.5, LFM2."""

from dataclasses import dataclass
from typing import Any

from llmkit.errors import ConfigError
from llmkit.model.config_states import DeltaConfig, ShortConvConfig
from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import conv_but_some, layer_words, layers_of, linear_but_every

CONV_FILES = ("conv_dim", "conv_dim_out", "conv_use_xavier_init", "num_heads", "use_pos_enc")
"""In published files of LFM2, and read by no class."""


@dataclass(frozen=True)
class DeltaLayers:
    """The gated delta rule in most layers, and attention with a gate in the others."""

    inputs_by_head: bool

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        kinds, _ = linear_but_every(keys, found["num_hidden_layers"])
        return {
            "attention_gate": True,
            "delta": DeltaConfig(
                layers=layers_of(kinds, "state"),
                num_key_heads=keys.whole("linear_num_key_heads", default=16),
                num_value_heads=keys.whole("linear_num_value_heads", default=32),
                key_head_dim=keys.whole("linear_key_head_dim", default=128),
                value_head_dim=keys.whole("linear_value_head_dim", default=128),
                kernel=keys.whole("linear_conv_kernel_dim", default=4),
                inputs_by_head=self.inputs_by_head,
            ),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        delta = _present(fields, "delta")
        return {
            "layer_types": layer_words(fields["num_hidden_layers"], delta.layers, "linear_attention"),
            "linear_num_key_heads": delta.num_key_heads,
            "linear_num_value_heads": delta.num_value_heads,
            "linear_key_head_dim": delta.key_head_dim,
            "linear_value_head_dim": delta.value_head_dim,
            "linear_conv_kernel_dim": delta.kernel,
        }


@dataclass(frozen=True)
class ConvLayers:
    """A short convolution in most layers, and attention in the others."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        kinds, _ = conv_but_some(keys, found["num_hidden_layers"])
        keys.known(*CONV_FILES)
        return {
            "tie_word_embeddings": keys.flag("tie_embedding", found["tie_word_embeddings"]),
            "short_conv": ShortConvConfig(
                layers=layers_of(kinds, "state"),
                kernel=keys.whole("conv_L_cache", default=3),
                bias=keys.flag("conv_bias"),
            ),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        short = _present(fields, "short_conv")
        return {
            "layer_types": layer_words(fields["num_hidden_layers"], short.layers, "conv"),
            "conv_L_cache": short.kernel,
            "conv_bias": short.bias,
        }


@dataclass(frozen=True)
class AdjustedWidth:
    """LFM2: the MLP is two thirds as wide as the file says, in whole multiples, unless it says otherwise."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        return {"intermediate_size": adjusted_width(keys)}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        width = fields["intermediate_size"]
        return {"block_ff_dim": width, "intermediate_size": width, "block_auto_adjust_ff_dim": False}


def _present(fields: Fields, part: str) -> Any:
    """What tells a family's layers of state."""
    if fields[part] is None:
        raise ConfigError(
            f"a {fields['model_type']} model has {part} (found none)", hint="choose another model_type"
        )
    return fields[part]


def adjusted_width(keys: Keys) -> int:
    """The width of LFM2's MLP."""
    width = keys.whole("block_ff_dim", "intermediate_size", default=12_288)
    factor = keys.number("block_ffn_dim_multiplier", default=None)
    multiple = keys.whole("block_multiple_of", default=256)
    keys.known("block_norm_eps", "block_dim", "block_mlp_init_scale", "block_out_init_scale")
    if not keys.flag("block_auto_adjust_ff_dim", True):
        return width
    width = int(2 * width / 3)
    if "block_ffn_dim_multiplier" in keys.config and factor is None:
        return width
    return -(-int((1.0 if factor is None else factor) * width) // multiple) * multiple
