"""Latent attention in config.json: DeepSeek's ranks and head sizes, and what YaRN does to its scores."""

from dataclasses import dataclass
from typing import Any

from llmkit.errors import ConfigError
from llmkit.model.config_parts import LatentConfig
from llmkit.model.families.parts import Fields
from llmkit.model.families.rope import read_scaling, rope_object
from llmkit.model.keys import Keys
from llmkit.model.rope_scaling import yarn_softmax_factor


@dataclass(frozen=True)
class LatentHeads:
    """Heads whose keys and values come out of one vector; head_dim is a whole key's."""

    q_lora_rank: int = 1536
    qk_nope_head_dim: int = 128
    v_head_dim: int = 128

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("num_key_value_heads", "head_dim", "qk_head_dim")  # of no consequence here
        latent = LatentConfig(
            kv_lora_rank=keys.whole("kv_lora_rank", default=512),
            q_lora_rank=keys.optional("q_lora_rank", self.q_lora_rank) or 0,
            qk_nope_head_dim=keys.whole("qk_nope_head_dim", default=self.qk_nope_head_dim),
            qk_rope_head_dim=keys.whole("qk_rope_head_dim", default=64),
            v_head_dim=keys.whole("v_head_dim", default=self.v_head_dim),
        )
        heads = keys.whole("num_attention_heads")
        return {
            "latent": latent,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "head_dim": latent.qk_nope_head_dim + latent.qk_rope_head_dim,
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        latent = fields["latent"]
        if not isinstance(latent, LatentConfig):
            raise ConfigError(
                f"a {fields['model_type']} model has latent attention (found none)",
                hint="choose another model_type for keys and values of their own",
            )
        return {
            "num_attention_heads": fields["num_attention_heads"],
            "num_key_value_heads": fields["num_key_value_heads"],
            "kv_lora_rank": latent.kv_lora_rank,
            "q_lora_rank": latent.q_lora_rank or None,
            "qk_nope_head_dim": latent.qk_nope_head_dim,
            "qk_rope_head_dim": latent.qk_rope_head_dim,
            "v_head_dim": latent.v_head_dim,
            "head_dim": latent.qk_rope_head_dim,  # transformers calls so what its rotation is made for
        }


@dataclass(frozen=True)
class LatentRope:
    """The base and the scaling; with YaRN, scores are multiplied with the square of its mscale_all_dim."""

    always_interleaved: bool
    """Whether pairs stand side by side whatever the file says; else rope_interleave says so."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        settings = rope_object(keys)
        theta = settings.get("rope_theta") or keys.number("rope_theta", default=10_000.0)
        keys.known("rope_theta")
        scaling = read_scaling(keys, settings, found)
        interleaved = keys.flag("rope_interleave", True)
        return {
            "position": "rope",
            "rope_theta": float(theta)
            if isinstance(theta, int | float)
            else keys.wrong("rope_theta", "a number"),
            "rope_scaling": scaling,
            "rotary_dim": found["latent"].qk_rope_head_dim,
            "rope_interleaved": interleaved or self.always_interleaved,
            "attention_scale": found["head_dim"] ** -0.5 * yarn_softmax_factor(scaling),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        theta, scaling = fields["rope_theta"], fields["rope_scaling"]
        return {
            "rope_theta": theta,
            "rope_scaling": scaling,
            "rope_parameters": {"rope_theta": theta, **(scaling or {"rope_type": "default"})},
            "rope_interleave": fields["rope_interleaved"],
        }
