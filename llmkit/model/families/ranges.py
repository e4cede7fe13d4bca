"""Experts in a range of layers, the others dense, in config.json: ERNIE 4.5 and LFM2."""

from dataclasses import dataclass
from typing import Any

from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.families.experts import coefficient, counts, experts_of, training
from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys


@dataclass(frozen=True)
class ErnieExperts:
    """ERNIE 4.5: softmax scores with a bias for choosing, in a range of layers, beside shared experts."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("output_router_logits", "moe_norm_min", "moe_capacity", "moe_gate", "moe_use_aux_free")
        keys.known("num_nextn_predict_layers", "use_rmsnorm", "fuse_rms_norm", "freq_allocation")
        last = found["num_hidden_layers"] - 1
        start, step = keys.count("moe_layer_start_index", 1), keys.whole("moe_layer_interval", default=1)
        given = keys.config.get("moe_layer_end_index")
        end = last if given in (None, -1) else keys.count("moe_layer_end_index", last)
        keys.known("moe_layer_end_index")
        width = keys.whole("moe_intermediate_size", default=1536)
        return {
            "experts": ExpertsConfig(
                num_experts=keys.whole("moe_num_experts", "num_experts", default=64),
                num_experts_per_tok=keys.whole("moe_k", "num_experts_per_tok", default=6),
                intermediate_size=width,
                layers=tuple(layer for layer in range(start, min(end, last) + 1) if not (layer + 1) % step),
                norm_topk_prob=True,
                selection_bias=True,
                shared_intermediate_size=width * keys.count("moe_num_shared_experts", 2),
                router_aux_loss_coef=coefficient(keys, "router_aux_loss_coef", 0.001),
                router_z_loss_coef=coefficient(keys, "router_z_loss_coef", 0.0),
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts = experts_of(fields)
        layers = experts.layers or (fields["num_hidden_layers"],)
        return {
            "moe_num_experts": experts.num_experts,
            "moe_k": experts.num_experts_per_tok,
            **training(experts),
            "moe_intermediate_size": experts.intermediate_size,
            "moe_num_shared_experts": experts.shared_intermediate_size // experts.intermediate_size,
            "moe_layer_start_index": layers[0],
            "moe_layer_end_index": layers[-1],
            "moe_layer_interval": layers[1] - layers[0] if len(layers) > 1 else 1,
            "output_router_logits": False,
        }


@dataclass(frozen=True)
class Lfm2Experts:
    """LFM2: sigmoid scores, mostly with a bias for choosing, in all layers but the first."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("output_router_logits")
        return {
            "experts": ExpertsConfig(
                num_experts=keys.whole("num_experts", "num_local_experts", default=32),
                num_experts_per_tok=keys.whole("num_experts_per_tok", default=4),
                intermediate_size=keys.whole("moe_intermediate_size", default=1792),
                layers=tuple(range(keys.count("num_dense_layers", 2), found["num_hidden_layers"])),
                scoring="sigmoid",
                norm_topk_prob=keys.flag("norm_topk_prob", True),
                routed_scaling_factor=keys.number("routed_scaling_factor", default=1.0) or 1.0,
                selection_bias=keys.flag("use_expert_bias", True),
                router_aux_loss_coef=coefficient(keys, "router_aux_loss_coef", 0.0),
                router_z_loss_coef=coefficient(keys, "router_z_loss_coef", 0.0),
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts = experts_of(fields)
        return counts(experts) | {
            "moe_intermediate_size": experts.intermediate_size,
            "num_dense_layers": fields["num_hidden_layers"] - len(experts.layers),
            "norm_topk_prob": experts.norm_topk_prob,
            "routed_scaling_factor": experts.routed_scaling_factor,
            "use_expert_bias": experts.selection_bias,
            "output_router_logits": False,
        }
