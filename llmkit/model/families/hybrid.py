"""Families whose class has layers of state, of which those with attention alone are read: Granite 4."""

from dataclasses import dataclass
from typing import Any

from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import attention_alone

STATE_KEYS = tuple(
    f"mamba_{name}"
    for name in (
        *("n_heads", "n_groups", "d_state", "d_head", "d_conv", "expand", "chunk_size"),
        *("conv_bias", "proj_bias"),
    )
)


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
