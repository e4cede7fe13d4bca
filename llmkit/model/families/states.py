"""Layers of state in config.json: Qwen3-Next, Qwen3.5, LFM2; and Granite 4 where it has none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.errors import ConfigError
from llmkit.model.config_parts import DeltaConfig, ShortConvConfig
from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import Kind, attention_alone, conv_but_some, linear_but_every

STATE_KEYS = tuple(
    f"mamba_{name}"
    for name in (
        *("n_heads", "n_groups", "d_state", "d_head", "d_conv", "expand", "chunk_size"),
        *("conv_bias", "proj_bias"),
    )
)


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
                layers=_state_layers(kinds),
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
            "layer_types": _layer_types(fields, delta.layers, "linear_attention"),
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
                layers=_state_layers(kinds),
                kernel=keys.whole("conv_L_cache", default=3),
                bias=keys.flag("conv_bias"),
            ),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        short = _present(fields, "short_conv")
        return {
            "layer_types": _layer_types(fields, short.layers, "conv"),
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


def _state_layers(kinds: Sequence[Kind]) -> tuple[int, ...]:
    return tuple(layer for layer, kind in enumerate(kinds) if kind == "state")


def _layer_types(fields: Fields, states: Sequence[int], word: str) -> list[str]:
    """What config.json calls each layer, `word` those that keep a state."""
    return [word if layer in states else "full_attention" for layer in range(fields["num_hidden_layers"])]


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


@dataclass(frozen=True)
class SharedMlpAlone:
    """Granite 4 without Mamba's layers and without experts: every layer has attention and the shared MLP."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known(*STATE_KEYS, "time_step_limit", "num_experts_per_tok", "output_router_logits")
        keys.known("router_aux_loss_coef", "normalization_function", "init_method")
        attention_alone(keys, found["num_hidden_layers"])
        if keys.count("num_local_experts", 8):
            keys.wrong("num_local_experts", "0, which is all that is supported")
        if keys.word("position_embedding_type", default="none") != "rope":
            keys.wrong("position_embedding_type", "rope, which is all that is supported")
        return {"intermediate_size": keys.whole("shared_intermediate_size", default=1024)}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {
            "shared_intermediate_size": fields["intermediate_size"],
            "layer_types": ["attention"] * fields["num_hidden_layers"],
            "num_local_experts": 0,
            "num_experts_per_tok": 0,
            "output_router_logits": False,
            "position_embedding_type": "rope",
        }
