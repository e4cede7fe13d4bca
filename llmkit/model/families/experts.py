"""Mixtures of experts in config.json: the keys of Mixtral, Qwen, OLMoE, DeepSeek and gpt-oss."""

from dataclasses import dataclass
from typing import Any

from llmkit.errors import ConfigError
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import layer_words, layers_of


@dataclass(frozen=True)
class EveryLayer:
    """Experts of intermediate_size in every layer: Mixtral, OLMoE, gpt-oss, Granite, MiniMax-M2."""

    normalised: bool | None
    """Whether weights add up to 1; None: norm_topk_prob says so."""
    coefficient: float
    """router_aux_loss_coef of the class."""
    gpt_oss: bool = False
    """With biases, and gpt-oss's own activation."""
    sigmoid: bool = False
    """Sigmoid scores with a bias for choosing."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("output_router_logits", "router_jitter_noise", "experts_per_token")
        normalised = keys.flag("norm_topk_prob") if self.normalised is None else self.normalised
        limit = keys.number("swiglu_limit", default=7.0) if self.gpt_oss else 0.0
        if self.gpt_oss and keys.number("swiglu_alpha", default=1.702) != 1.702:
            keys.wrong("swiglu_alpha", "1.702, which is all that is supported")
        return {
            "experts": ExpertsConfig(
                num_experts=keys.whole("num_local_experts", "num_experts"),
                num_experts_per_tok=keys.whole("num_experts_per_tok"),
                intermediate_size=found["intermediate_size"],
                layers=tuple(range(found["num_hidden_layers"])),
                norm_topk_prob=normalised,
                scoring="sigmoid" if self.sigmoid else "softmax",
                selection_bias=self.sigmoid,
                router_bias=self.gpt_oss,
                expert_bias=self.gpt_oss,
                swiglu_limit=limit or 0.0,
                router_aux_loss_coef=coefficient(keys, "router_aux_loss_coef", self.coefficient),
                router_z_loss_coef=coefficient(keys, "router_z_loss_coef", 0.0),
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts = experts_of(fields)
        keys = counts(experts) | {"output_router_logits": False}
        if self.normalised is None:
            keys["norm_topk_prob"] = experts.norm_topk_prob
        if self.gpt_oss:
            keys |= {"experts_per_token": experts.num_experts_per_tok, "swiglu_limit": experts.swiglu_limit}
        return keys


@dataclass(frozen=True)
class QwenExperts:
    """Qwen2-MoE and later: some layers may be dense, one expert may be shared."""

    shared: bool
    normalised: bool = False
    """norm_topk_prob of the class."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("output_router_logits")
        step, dense = keys.whole("decoder_sparse_step", default=1), keys.numbers("mlp_only_layers") or ()
        layers = range(found["num_hidden_layers"])
        return {
            "experts": ExpertsConfig(
                num_experts=keys.whole("num_experts", "num_local_experts"),
                num_experts_per_tok=keys.whole("num_experts_per_tok"),
                intermediate_size=keys.whole("moe_intermediate_size"),
                layers=tuple(layer for layer in layers if layer not in dense and (layer + 1) % step == 0),
                norm_topk_prob=keys.flag("norm_topk_prob", self.normalised),
                shared_intermediate_size=keys.whole("shared_expert_intermediate_size") if self.shared else 0,
                shared_gate=self.shared,
                router_aux_loss_coef=coefficient(keys, "router_aux_loss_coef", 0.001),
                router_z_loss_coef=coefficient(keys, "router_z_loss_coef", 0.0),
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts = experts_of(fields)
        dense = [layer for layer in range(fields["num_hidden_layers"]) if layer not in experts.layers]
        keys = counts(experts) | {
            "moe_intermediate_size": experts.intermediate_size,
            "norm_topk_prob": experts.norm_topk_prob,
            "decoder_sparse_step": 1,
            "mlp_only_layers": dense,
            "output_router_logits": False,
        }
        return keys | (
            {"shared_expert_intermediate_size": experts.shared_intermediate_size} if self.shared else {}
        )


@dataclass(frozen=True)
class DeepSeekExperts:
    """DeepSeek-V2 and V3, dots.llm1, GLM-4.5 and later: dense layers first, groups, shared experts."""

    version: int
    """2: softmax scores; 3: sigmoid scores with a bias for choosing."""
    first_dense: int
    shared: int
    scaling: float
    normalised: bool
    groups: int = 1
    topk_groups: int = 1
    layer_types: bool = False
    """Whether mlp_layer_types says which layers are dense."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("output_router_logits", "aux_loss_alpha", "seq_aux", "moe_layer_freq", "ep_size")
        keys.known(
            "num_nextn_predict_layers", "num_mtp_layers"
        )  # layers after the last, not part of the model
        if keys.whole("moe_layer_freq", default=1) != 1:
            keys.wrong("moe_layer_freq", "1, which is all that is supported")
        if self.version == 2 and keys.flag("norm_topk_prob", self.normalised):
            keys.wrong("norm_topk_prob", "false, which is all that the class computes")
        width = keys.whole("moe_intermediate_size")
        layers = self._layers(keys, found["num_hidden_layers"])
        groups, chosen = self._groups(keys)
        scaling = keys.number("routed_scaling_factor", default=self.scaling)
        return {
            "experts": ExpertsConfig(
                num_experts=keys.whole("n_routed_experts", "num_local_experts", "num_experts"),
                num_experts_per_tok=keys.whole("num_experts_per_tok"),
                intermediate_size=width,
                layers=layers,
                scoring=self._scoring(keys),
                norm_topk_prob=keys.flag("norm_topk_prob", self.normalised),
                routed_scaling_factor=self.scaling if scaling is None else scaling,
                num_groups=groups,
                topk_groups=chosen,
                group_score="best_two" if self.version == 3 else "best",
                selection_bias=self.version == 3,
                shared_intermediate_size=width * keys.count("n_shared_experts", self.shared),
                router_aux_loss_coef=coefficient(keys, "router_aux_loss_coef", 0.0),
                router_z_loss_coef=coefficient(keys, "router_z_loss_coef", 0.0),
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts, layers = experts_of(fields), fields["num_hidden_layers"]
        shared, rest = divmod(experts.shared_intermediate_size, experts.intermediate_size)
        if rest:
            raise ConfigError(
                f"a {fields['model_type']} model has shared experts as wide as the routed ones "
                f"(found {experts.shared_intermediate_size} for {experts.intermediate_size})",
                hint="set shared_intermediate_size to a multiple of the experts' intermediate_size",
            )
        method = (
            ("group_limited_greedy" if experts.num_groups > 1 else "greedy")
            if self.version == 2
            else "noaux_tc"
        )
        return {
            "n_routed_experts": experts.num_experts,
            "num_experts_per_tok": experts.num_experts_per_tok,
            **training(experts),
            "moe_intermediate_size": experts.intermediate_size,
            "first_k_dense_replace": min(experts.layers, default=layers),
            "n_shared_experts": shared,
            "moe_layer_freq": 1,
            "scoring_func": experts.scoring,
            "topk_method": method,
            "n_group": experts.num_groups,
            "topk_group": experts.topk_groups,
            "norm_topk_prob": experts.norm_topk_prob,
            "routed_scaling_factor": experts.routed_scaling_factor,
            "output_router_logits": False,
        } | (_layer_types(experts, layers) if self.layer_types else {})

    def _layers(self, keys: Keys, layers: int) -> tuple[int, ...]:
        """Those with experts."""
        first = keys.count("first_k_dense_replace", self.first_dense)
        kinds = keys.words("mlp_layer_types") if self.layer_types else None
        if kinds is None:
            return tuple(range(first, layers))
        if len(kinds) != layers or not set(kinds) <= {"dense", "sparse"}:
            keys.wrong("mlp_layer_types", f"{layers} words out of dense, sparse")
        return layers_of(kinds, "sparse")

    def _groups(self, keys: Keys) -> tuple[int, int]:
        groups = keys.optional("n_group", self.groups) or 1
        chosen = keys.optional("topk_group", self.topk_groups) or 1
        if self.version == 3:
            return groups, chosen
        method = keys.word("topk_method", default="greedy")
        if method not in ("greedy", "group_limited_greedy"):
            keys.wrong("topk_method", "greedy or group_limited_greedy")
        return (1, 1) if method == "greedy" else (groups, chosen)

    def _scoring(self, keys: Keys) -> Any:
        """The class computes its own whatever the file says: a file that says otherwise is refused."""
        expected = "sigmoid" if self.version == 3 else "softmax"
        keys.known("topk_method")
        if keys.word("scoring_func", default=expected) != expected:
            keys.wrong("scoring_func", expected)
        return expected


def _layer_types(experts: ExpertsConfig, layers: int) -> dict[str, Any]:
    return {"mlp_layer_types": layer_words(layers, experts.layers, "sparse", "dense")}


def experts_of(fields: Fields) -> ExpertsConfig:
    """The experts of a family that has them.

    Raises:
        ConfigError: the model has none.
    """
    experts = fields["experts"]
    if not isinstance(experts, ExpertsConfig):
        raise ConfigError(
            f"a {fields['model_type']} model has experts (found none)",
            hint="begin with a mixture, as --preset tiny-moe, or choose the dense family's model_type",
        )
    return experts


def counts(experts: ExpertsConfig) -> dict[str, Any]:
    """Under both names: classes and other readers look for one or the other."""
    return {
        "num_experts": experts.num_experts,
        "num_local_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_experts_per_tok,
        **training(experts),
    }


def training(experts: ExpertsConfig) -> dict[str, Any]:
    """The weights of the losses that keep experts in use; the second is a key of our own."""
    keys: dict[str, Any] = {"router_aux_loss_coef": experts.router_aux_loss_coef}
    return keys | ({"router_z_loss_coef": experts.router_z_loss_coef} if experts.router_z_loss_coef else {})


def coefficient(keys: Keys, name: str, default: float) -> float:
    """The weight of a loss; null is none."""
    return keys.number(name, default=default) or 0.0
