"""Nemotron-H in config.json: each layer is one branch alone, Mamba-2, attention, an MLP or experts."""

from dataclasses import dataclass
from typing import Any

from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import Mamba2Config
from llmkit.model.families.experts import coefficient, training
from llmkit.model.families.mamba import step_limits, written_limits
from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import layers_of

_LETTERS = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}
"""What hybrid_override_pattern has for each word of layers_block_type."""
_WORDS = {"mamba": "linear_attention", "attention": "full_attention"}
"""What older files call two of them."""
_DEFAULT = ("linear_attention", "moe", "full_attention", "mlp")
_OF_EXPERTS = (
    *("n_routed_experts", "n_shared_experts", "moe_intermediate_size", "num_experts_per_tok", "n_group"),
    *("moe_shared_expert_intermediate_size", "moe_latent_size", "moe_shared_expert_overlap", "topk_group"),
    *("norm_topk_prob", "routed_scaling_factor", "output_router_logits", "num_local_experts"),
    *("router_aux_loss_coef", "router_z_loss_coef"),
)
"""Of layers that a file without `moe` has not; overlap is of streams of a GPU."""
_NOTHING = (
    *("num_hidden_layers", "chunk_size", "expand", "use_mamba_kernels", "mamba_ssm_cache_dtype"),
    *("time_step_min", "time_step_max", "time_step_floor", "rescale_prenorm_residual", "residual_in_fp32"),
    *("hidden_dropout", "attention_dropout", "mamba_proj_bias", "num_nextn_predict_layers"),
    *("mtp_layers_block_type", "mtp_hybrid_override_pattern"),
)
"""Of fresh weights, training, kernels and layers that predict further tokens, or read by no class."""


@dataclass(frozen=True)
class OneBranchLayers:
    """What each layer is, and the sizes of Mamba-2. Attention has no positions.

    transformers lets no step be shorter than time_step_min in a prompt, and any in what follows; the model as
    it was trained has time_step_limit in both, and so it is here.
    """

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known(*_OF_EXPERTS, *_NOTHING)
        kinds = branches(keys)
        states = layers_of(kinds, "linear_attention")
        return {
            "num_hidden_layers": len(kinds),
            "lone_mlps": tuple(layer for layer, kind in enumerate(kinds) if kind in ("mlp", "moe")),
            "experts": _experts(keys, layers_of(kinds, "moe")) if "moe" in kinds else None,
            "mamba": self._mamba(keys, states) if states else None,
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        mamba, experts = fields["mamba"], fields["experts"]
        letters = ["*"] * fields["num_hidden_layers"]
        for letter, layers in (
            ("M", () if mamba is None else mamba.layers),
            ("-", fields["lone_mlps"] or ()),
            ("E", () if experts is None else experts.layers),
        ):
            for layer in layers:
                letters[layer] = letter
        keys: dict[str, Any] = {
            "num_hidden_layers": len(letters),
            "layers_block_type": [_LETTERS[letter] for letter in letters],
            "hybrid_override_pattern": "".join(letters),
        }
        if experts is not None:
            keys |= _experts_keys(experts)
        if mamba is None:
            return keys
        return keys | {
            "mamba_num_heads": mamba.num_heads,
            "mamba_head_dim": mamba.head_dim,
            "n_groups": mamba.num_groups,
            "ssm_state_size": mamba.state_size,
            "conv_kernel": mamba.kernel,
            "use_conv_bias": mamba.conv_bias,
            "use_bias": mamba.bias,
            "mamba_hidden_act": mamba.hidden_act,
            **written_limits(mamba),
        }

    def _mamba(self, keys: Keys, states: tuple[int, ...]) -> Mamba2Config:
        return Mamba2Config(
            layers=states,
            num_heads=keys.whole("mamba_num_heads", default=128),
            head_dim=keys.whole("mamba_head_dim", default=64),
            num_groups=keys.whole("n_groups", "mamba_n_groups", default=8),
            state_size=keys.whole("ssm_state_size", default=128),
            kernel=keys.whole("conv_kernel", "mamba_d_conv", default=4),
            conv_bias=keys.flag("use_conv_bias", True),
            bias=keys.flag("use_bias"),
            hidden_act=keys.word("mamba_hidden_act", default="silu"),
            step_limits=step_limits(keys),
        )


def branches(keys: Keys) -> tuple[str, ...]:
    """What each layer is, in the words of transformers 5."""
    keys.known(
        *("mamba_num_heads", "mamba_head_dim", "n_groups", "mamba_n_groups", "ssm_state_size"),
        *("conv_kernel", "mamba_d_conv", "use_conv_bias", "use_bias", "mamba_hidden_act", "time_step_limit"),
    )
    words = keys.words("layers_block_type") or keys.words("layer_types")
    pattern = keys.word("hybrid_override_pattern", default="")
    name = "layers_block_type" if words else "hybrid_override_pattern"
    if not words:
        words = tuple(_LETTERS.get(letter, letter) for letter in pattern) or _DEFAULT
    kinds = tuple(_WORDS.get(word, word) for word in words)
    if not set(kinds) <= set(_LETTERS.values()):
        keys.wrong(name, f"words out of {', '.join(_LETTERS.values())}")
    return kinds


def _experts(keys: Keys, layers: tuple[int, ...]) -> ExpertsConfig:
    """DeepSeek-V3's router; experts and the shared one have no gate, and each a width of its own."""
    if keys.whole("n_shared_experts", default=1) != 1:
        keys.wrong("n_shared_experts", "1, which is all that the class computes")
    if keys.optional("moe_latent_size", None):
        keys.wrong("moe_latent_size", "null: experts in a space of fewer numbers are not supported")
    scaling = keys.number("routed_scaling_factor", default=1.0)
    return ExpertsConfig(
        num_experts=keys.whole("n_routed_experts", "num_local_experts", default=8),
        num_experts_per_tok=keys.whole("num_experts_per_tok", default=2),
        intermediate_size=keys.whole("moe_intermediate_size", default=7688),
        layers=layers,
        scoring="sigmoid",
        norm_topk_prob=keys.flag("norm_topk_prob", True),
        routed_scaling_factor=1.0 if scaling is None else scaling,
        num_groups=keys.optional("n_group", 1) or 1,
        topk_groups=keys.optional("topk_group", 1) or 1,
        group_score="best_two",
        selection_bias=True,
        shared_intermediate_size=keys.whole("moe_shared_expert_intermediate_size", default=7688),
        router_aux_loss_coef=coefficient(keys, "router_aux_loss_coef", 0.0),
        router_z_loss_coef=coefficient(keys, "router_z_loss_coef", 0.0),
    )


def _experts_keys(experts: ExpertsConfig) -> dict[str, Any]:
    """What `_experts` reads."""
    return {
        "n_routed_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_experts_per_tok,
        "moe_intermediate_size": experts.intermediate_size,
        "n_shared_experts": 1,
        "moe_shared_expert_intermediate_size": experts.shared_intermediate_size,
        "moe_latent_size": None,
        "n_group": experts.num_groups,
        "topk_group": experts.topk_groups,
        "norm_topk_prob": experts.norm_topk_prob,
        "routed_scaling_factor": experts.routed_scaling_factor,
        "output_router_logits": False,
        **training(experts),
    }
