"""Llama 4's language model in config.json: chunks of a text, queries that grow, experts that weigh inputs."""

from dataclasses import dataclass
from typing import Any

from llmkit.errors import ConfigError
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.families.experts import coefficient, training
from llmkit.model.families.parts import Choice, Fields, Fixed, Part
from llmkit.model.families.windows import NoRopeLayers
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import layer_words, layers_of, llama4

LLAMA4_MLP = 16_384
"""intermediate_size_mlp of the class, where the key is absent."""


@dataclass(frozen=True)
class Chunks:
    """Layers that see their chunk of the text, and layers that see all of it."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        kinds, chunk = llama4(keys, found["num_hidden_layers"])
        chunked = layers_of(kinds, "chunked")
        return {"sliding_layers": chunked, "sliding_window": chunk if chunked else None}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        kinds = layer_words(fields["num_hidden_layers"], fields["sliding_layers"], "chunked_attention")
        return {"attention_chunk_size": fields["sliding_window"], "layer_types": kinds}


@dataclass(frozen=True)
class TemperatureTuning:
    """Queries of the layers without positions grow with each `floor_scale` positions."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("attn_temperature_tuning")
        tuned = keys.config.get("attn_temperature_tuning", True)
        if tuned is not None and not isinstance(tuned, bool | int):  # 4 in files of Llama 4's first release
            keys.wrong("attn_temperature_tuning", "true, false or a whole number")
        positions = keys.whole("floor_scale", default=8192)
        growth = keys.number("attn_scale", default=0.1) or 0.0
        if growth < 0:
            keys.wrong("attn_scale", "a number of at least 0")
        if not tuned or not growth:
            return {"query_growth": 0.0, "query_growth_positions": 0}
        return {"query_growth": float(growth), "query_growth_positions": positions}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        growth, positions = fields["query_growth"], fields["query_growth_positions"]
        tuned = {"attn_scale": growth, "floor_scale": positions} if growth else {}
        return {"attn_temperature_tuning": growth != 0.0, **tuned}


@dataclass(frozen=True)
class Llama4Experts:
    """Experts whose weights multiply what they read, and one more for every token; an MLP in other layers."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys; intermediate_size becomes the MLP's."""
        keys.known("output_router_logits", "router_jitter_noise", "for_llm_compressor")
        count, layers = keys.count("num_local_experts", 16), llama4_sparse(keys, found["num_hidden_layers"])
        width, chosen = found["intermediate_size"], keys.count("num_experts_per_tok", 1)
        balance = coefficient(keys, "router_aux_loss_coef", 0.001)
        squares = coefficient(keys, "router_z_loss_coef", 0.0)
        dense = {"intermediate_size": keys.whole("intermediate_size_mlp", default=LLAMA4_MLP)}
        if not layers:
            return {**dense, "experts": None}
        return {
            **dense,
            "experts": ExpertsConfig(
                num_experts=count,
                num_experts_per_tok=chosen,
                intermediate_size=width,
                layers=layers,
                scoring="sigmoid",
                weighs_inputs=True,
                shared_intermediate_size=width,
                router_aux_loss_coef=balance,
                router_z_loss_coef=squares,
            ),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts, dense = fields["experts"], fields["intermediate_size"]
        if experts is None:
            return {"intermediate_size_mlp": dense, "moe_layers": []}
        if experts.shared_intermediate_size != experts.intermediate_size:
            raise ConfigError(
                f"a {fields['model_type']} model has a shared expert as wide as the routed ones "
                f"(found {experts.shared_intermediate_size} for {experts.intermediate_size})",
                hint="set shared_intermediate_size to the experts' intermediate_size",
            )
        return {
            "intermediate_size_mlp": dense,
            "intermediate_size": experts.intermediate_size,
            "num_local_experts": experts.num_experts,
            "num_experts_per_tok": experts.num_experts_per_tok,
            "moe_layers": list(experts.layers),
            "output_router_logits": False,
            **training(experts),
        }


def llama4_sparse(keys: Keys, count: int) -> tuple[int, ...]:
    """Layers with experts: moe_layers, or else every interleave_moe_layer_step-th of `count`."""
    step, given = keys.count("interleave_moe_layer_step", 1), keys.numbers("moe_layers")
    if given is None:
        return tuple(range(step - 1, count, step)) if step else ()
    return tuple(layer for layer in sorted(set(given)) if layer < count)


LLAMA4: tuple[Part, ...] = (
    NoRopeLayers(),
    Chunks(),
    TemperatureTuning(),
    Choice("qk_norm", "use_qk_norm", "none", "unweighted", True),
    Llama4Experts(),
    Fixed({"rope_interleaved": True, "chunked_window": True, "query_growth_unrotated": True}),
)
"""What no other family has."""
