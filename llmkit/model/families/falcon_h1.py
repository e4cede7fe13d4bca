"""Falcon-H1 in config.json: Mamba-2 beside attention in every layer, and what both are multiplied with."""

from dataclasses import dataclass
from typing import Any

from llmkit.formats.json_text import is_number
from llmkit.model.config_states import Mamba2Config, MultipliersConfig
from llmkit.model.families.mamba import MAMBA_KEYS, step_limits, written_limits
from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys

_KEYS = {
    **{"attention_in": "attention_in_multiplier", "attention_out": "attention_out_multiplier"},
    **{"key": "key_multiplier", "state_in": "ssm_in_multiplier", "state_out": "ssm_out_multiplier"},
}
"""Fields of MultipliersConfig, and their keys."""


@dataclass(frozen=True)
class SideBySide:
    """Mamba-2 in every layer, as wide as mamba_d_ssm says, with a norm of what it reads or without."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known(*MAMBA_KEYS, "mamba_norm_before_gate", "mamba_use_mlp")
        heads = keys.whole("mamba_n_heads", default=128)
        usual = keys.whole("mamba_expand", default=2) * found["hidden_size"]
        width = keys.optional("mamba_d_ssm", 1024) or usual
        if width % heads:
            keys.wrong("mamba_n_heads", f"a divisor of mamba_d_ssm, {width}")
        if keys.config.get("mamba_d_head", "auto") != "auto" and keys.whole("mamba_d_head") * heads != width:
            keys.wrong("mamba_d_head", f"mamba_d_ssm / mamba_n_heads, {width // heads}")
        norm = keys.flag("mamba_rms_norm")
        if norm and keys.flag("mamba_norm_before_gate", True):
            keys.wrong("mamba_norm_before_gate", "false: a norm before the gate is not supported")
        return {
            "mamba": Mamba2Config(
                layers=tuple(range(found["num_hidden_layers"])),
                num_heads=heads,
                head_dim=width // heads,
                num_groups=keys.whole("mamba_n_groups", default=1),
                state_size=keys.whole("mamba_d_state", default=256),
                kernel=keys.whole("mamba_d_conv", default=4),
                conv_bias=keys.flag("mamba_conv_bias", True),
                hidden_act=found["hidden_act"],
                step_limits=step_limits(keys),
                beside_attention=True,
                norm=norm,
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        mamba: Mamba2Config = fields["mamba"]
        return {
            "mamba_d_ssm": mamba.width,
            "mamba_n_heads": mamba.num_heads,
            "mamba_d_head": mamba.head_dim,
            "mamba_n_groups": mamba.num_groups,
            "mamba_d_state": mamba.state_size,
            "mamba_d_conv": mamba.kernel,
            "mamba_conv_bias": mamba.conv_bias,
            "mamba_rms_norm": mamba.norm,
            "mamba_norm_before_gate": False,
            **written_limits(mamba),
        }


@dataclass(frozen=True)
class Multipliers:
    """Of embeddings, of what attention and Mamba-2 read and give, of the MLP and of logits."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        mlp, parts = _numbers(keys, "mlp_multipliers", 2), _numbers(keys, "ssm_multipliers", 5)
        each = {field: _number(keys, key) for field, key in _KEYS.items()}
        return {
            "embedding_scale": _number(keys, "embedding_multiplier"),
            "logit_scale": _number(keys, "lm_head_multiplier"),
            "multipliers": MultipliersConfig(
                **each,
                state_parts=parts,
                mlp_gate=mlp[0],
                mlp_out=mlp[1],
            ),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        told: MultipliersConfig = fields["multipliers"]
        return {
            "embedding_multiplier": fields["embedding_scale"],
            "lm_head_multiplier": fields["logit_scale"],
            **{key: getattr(told, field) for field, key in _KEYS.items()},
            "ssm_multipliers": [*told.state_parts],
            "mlp_multipliers": [told.mlp_gate, told.mlp_out],
        }


def _number(keys: Keys, name: str) -> float:
    found = keys.number(name, default=1.0)
    return 1.0 if found is None else float(found)


def _numbers(keys: Keys, name: str, count: int) -> tuple[float, ...]:
    keys.known(name)
    given = keys.config.get(name)
    if given is None:
        return (1.0,) * count
    if not isinstance(given, list) or len(given) != count or not all(map(is_number, given)):
        keys.wrong(name, f"{count} numbers")
    return tuple(map(float, given))
