"""Mamba-2's layers in config.json of Granite 4 and Bamba, and what Granite 4 has beside them: a shared MLP,
experts, or neither."""

from dataclasses import dataclass
from typing import Any

from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import Mamba2Config
from llmkit.model.families.experts import coefficient, training
from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import layer_words, layers_of, mamba_but_indices, mamba_but_some

MAMBA_KEYS = tuple(
    f"mamba_{name}"
    for name in (
        *("n_heads", "n_groups", "d_state", "d_head", "d_conv", "expand", "chunk_size"),
        *("conv_bias", "proj_bias"),
    )
)
GRANITE_KEYS = ("output_router_logits", "normalization_function", "init_method")
"""Of published files, that change nothing here."""


@dataclass(frozen=True)
class MambaLayers:
    """Mamba-2 in some layers, attention in the others: those that layer_types names, as in Granite 4, or
    whose numbers are in attn_layer_indices, as in Bamba."""

    by_index: bool = False

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known(*MAMBA_KEYS, *GRANITE_KEYS)
        limits = step_limits(keys)
        rule = mamba_but_indices if self.by_index else mamba_but_some
        kinds, _ = rule(keys, found["num_hidden_layers"])
        if "state" not in kinds:
            return {}
        heads, groups = keys.whole("mamba_n_heads", default=128), keys.whole("mamba_n_groups", default=1)
        head_dim = mamba_head_dim(keys, found["hidden_size"], heads)
        return {
            "mamba": Mamba2Config(
                layers=layers_of(kinds, "state"),
                num_heads=heads,
                head_dim=head_dim,
                num_groups=groups,
                state_size=keys.whole("mamba_d_state", default=256),
                kernel=keys.whole("mamba_d_conv", default=4),
                conv_bias=keys.flag("mamba_conv_bias", True),
                bias=keys.flag("mamba_proj_bias"),
                hidden_act=found["hidden_act"],
                step_limits=limits,
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        mamba: Mamba2Config | None = fields["mamba"]
        states = () if mamba is None else mamba.layers
        layers = fields["num_hidden_layers"]
        if self.by_index:
            which: dict[str, Any] = {"attn_layer_indices": [n for n in range(layers) if n not in states]}
        else:
            which = {"layer_types": layer_words(layers, states, "mamba", "attention")}
        if mamba is None:
            return which
        return which | {
            "mamba_n_heads": mamba.num_heads,
            "mamba_d_head": mamba.head_dim,
            "mamba_n_groups": mamba.num_groups,
            "mamba_d_state": mamba.state_size,
            "mamba_d_conv": mamba.kernel,
            "mamba_expand": mamba.width // fields["hidden_size"],
            "mamba_conv_bias": mamba.conv_bias,
            "mamba_proj_bias": mamba.bias,
            **written_limits(mamba),
        }


def mamba_head_dim(keys: Keys, hidden_size: int, heads: int) -> int:
    """Numbers of a head, so that all heads have mamba_expand times hidden_size, as Granite's class asks."""
    width = keys.whole("mamba_expand", default=2) * hidden_size
    if width % heads:
        keys.wrong("mamba_n_heads", f"a divisor of mamba_expand * hidden_size, {width}")
    if keys.config.get("mamba_d_head", "auto") != "auto" and keys.whole("mamba_d_head") * heads != width:
        keys.wrong("mamba_d_head", f"mamba_expand * hidden_size / mamba_n_heads, {width // heads}")
    return width // heads


def step_limits(keys: Keys) -> tuple[float, float]:
    """What steps of a state space are held between: time_step_limit, whose end transformers 5 writes as an
    object where it is infinite."""
    keys.known("time_step_limit")
    given = keys.config.get("time_step_limit")
    if given is None:
        return Mamba2Config.step_limits
    limits = [_limit(one) for one in given] if isinstance(given, list | tuple) else []
    if len(limits) != 2 or not all(isinstance(one, int | float) for one in limits) or limits[0] > limits[1]:
        keys.wrong("time_step_limit", "two numbers, the smaller first")
    return float(limits[0]), float(limits[1])


def _limit(one: Any) -> Any:
    return float("inf") if one in ("Infinity", {"__float__": "Infinity"}) else one


def written_limits(mamba: Mamba2Config) -> dict[str, Any]:
    """time_step_limit where it is not the class's own: JSON has no word for the infinite."""
    if mamba.step_limits == Mamba2Config.step_limits:
        return {}
    infinite = {"__float__": "Infinity"}
    return {"time_step_limit": [infinite if one == float("inf") else one for one in mamba.step_limits]}


@dataclass(frozen=True)
class GraniteFeed:
    """Granite 4: an MLP that all tokens use in every layer, and experts beside it where there are some."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("num_experts_per_tok", "router_aux_loss_coef")
        shared = keys.whole("shared_intermediate_size", default=1024)
        count = keys.count("num_local_experts", 8)
        if not count:
            return {"intermediate_size": shared}
        return {
            "experts": ExpertsConfig(
                num_experts=count,
                num_experts_per_tok=keys.whole("num_experts_per_tok", default=2),
                intermediate_size=found["intermediate_size"],
                layers=tuple(range(found["num_hidden_layers"])),
                norm_topk_prob=True,
                shared_intermediate_size=shared,
                router_aux_loss_coef=coefficient(keys, "router_aux_loss_coef", 0.001),
                router_z_loss_coef=coefficient(keys, "router_z_loss_coef", 0.0),
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts: ExpertsConfig | None = fields["experts"]
        keys: dict[str, Any] = {"output_router_logits": False}
        if experts is None:
            keys |= {"num_local_experts": 0, "num_experts_per_tok": 0}
            return keys | {"shared_intermediate_size": fields["intermediate_size"]}
        return keys | {
            "num_local_experts": experts.num_experts,
            "num_experts_per_tok": experts.num_experts_per_tok,
            "shared_intermediate_size": experts.shared_intermediate_size,
            **training(experts),
        }


@dataclass(frozen=True)
class RopeOrNone:
    """Granite 4: attention has rotary positions where position_embedding_type says so, or else none."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        kind = keys.word("position_embedding_type", default="nope")
        if kind not in ("rope", "nope"):
            keys.wrong("position_embedding_type", "rope or nope")
        return {"no_rope_layers": () if kind == "rope" else tuple(range(found["num_hidden_layers"]))}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        return {"position_embedding_type": "nope" if fields["no_rope_layers"] else "rope"}
