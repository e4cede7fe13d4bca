"""Parts of a shape that only some families have: experts, latent attention, heads and
embeddings of layers' own. No torch."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from llmkit.errors import ConfigError
from llmkit.model.config_checks import check_whole

Scoring = Literal["softmax", "sigmoid"]
LATENT_NORM_EPS = 1e-6
"""Of latent attention's two inner norms: a constant in DeepSeek's code and in transformers, whatever
rms_norm_eps is."""


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig:
    """A mixture of experts in place of the MLP (1701.06538): a router sends each token to some of them.

    Raises:
        ConfigError: a size is impossible, or the parts do not go together.
    """

    num_experts: int
    num_experts_per_tok: int
    intermediate_size: int
    """Of one routed expert."""
    layers: tuple[int, ...]
    """Which layers have experts; the others have the MLP of the model's own intermediate_size."""
    scoring: Scoring = "softmax"
    norm_topk_prob: bool = False
    """Weights of the chosen experts add up to 1."""
    routed_scaling_factor: float = 1.0
    """What those weights are multiplied with."""
    weighs_inputs: bool = False
    """They multiply what the chosen experts read, not what these give (Llama 4)."""
    num_groups: int = 1
    """Experts in groups, of which a token may use `topk_groups`: n_group and topk_group."""
    topk_groups: int = 1
    group_score: Literal["best", "best_two"] = "best"
    """What a group is worth: its best score, or the sum of its two best."""
    selection_bias: bool = False
    """A number added to each expert's score for choosing, never for weighing (2408.15664):
    e_score_correction_bias."""
    shared_intermediate_size: int = 0
    """Of the expert that every token uses; 0 for none."""
    beside_mlp: bool = False
    """That expert is the layer's MLP: it, the router and the experts read the stream through norms of their
    own, and what MLP and experts give goes through one each before it is added up (Gemma 4)."""
    shared_gate: bool = False
    """Its output is multiplied with a sigmoid of the token's own."""
    router_bias: bool = False
    expert_bias: bool = False
    swiglu_limit: float = 0.0
    """gpt-oss: gate and up end here, and give gate sigmoid(1.702 gate) (up + 1); 0 for the MLP's own."""
    router_aux_loss_coef: float = 0.0
    """Weight of the load-balancing loss in training (2101.03961); 0 for none."""
    router_z_loss_coef: float = 0.0
    """Weight of the mean squared log-sum-exp of router logits in training (2202.08906)."""

    def __post_init__(self) -> None:
        for name in ("num_experts", "num_experts_per_tok", "intermediate_size", "num_groups", "topk_groups"):
            check_whole(name, getattr(self, name))
        if self.num_experts_per_tok > self.num_experts:
            raise ConfigError(
                f"num_experts_per_tok ({self.num_experts_per_tok}) is more than "
                f"num_experts ({self.num_experts})",
                hint="let a token use at most as many experts as there are",
            )
        if self.num_experts % self.num_groups:
            raise ConfigError(
                f"num_experts ({self.num_experts}) is not a multiple of the groups ({self.num_groups})",
                hint="set n_group to a divisor of the number of experts",
            )
        room = self.topk_groups * (self.num_experts // self.num_groups)
        if self.topk_groups > self.num_groups or room < self.num_experts_per_tok:
            raise ConfigError(
                f"{self.topk_groups} of {self.num_groups} groups hold {room} experts, "
                f"and a token uses {self.num_experts_per_tok}",
                hint="raise topk_group or lower num_experts_per_tok",
            )


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """Multi-head latent attention (2405.04434): keys and values of all heads out of one vector a token.

    Raises:
        ConfigError: a size is impossible.
    """

    kv_lora_rank: int
    """Numbers of the vector."""
    q_lora_rank: int = 0
    """Width that queries go through; 0: straight from hidden_size."""
    qk_nope_head_dim: int
    """Numbers of a head's query and key without a position."""
    qk_rope_head_dim: int
    """Those with one; the key's are shared by the heads."""
    v_head_dim: int

    def __post_init__(self) -> None:
        for name in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"):
            check_whole(name, getattr(self, name))


class HeadSizes(NamedTuple):
    """Of the keys and values of a layer."""

    num_key_value_heads: int
    head_dim: int

    @property
    def width(self) -> int:
        """Numbers of all keys of a token."""
        return self.num_key_value_heads * self.head_dim


@dataclass(frozen=True, kw_only=True)
class FullHeadsConfig:
    """Heads of layers that see everything, where those of layers with a window are others (Gemma 4).

    Raises:
        ConfigError: a size is impossible.
    """

    head_dim: int
    num_key_value_heads: int
    rotary_dim: int
    """How many numbers of a head are rotated: those of the first pairs, with the angles that they would have
    if all were. A pair stands half a head apart."""
    values_are_keys: bool = False
    """Values are what k_proj gives, before its norm and rotation: there is no v_proj."""

    def __post_init__(self) -> None:
        for name in ("head_dim", "num_key_value_heads"):
            check_whole(name, getattr(self, name))
        if self.head_dim % 2 or self.rotary_dim % 2 or not 0 < self.rotary_dim <= self.head_dim:
            raise ConfigError(
                f"rotary positions need an even number of a head's {self.head_dim} numbers "
                f"(found {self.rotary_dim})",
                hint="change global_head_dim or partial_rotary_factor",
            )


@dataclass(frozen=True, kw_only=True)
class OwnInputsConfig:
    """An embedding of each layer's own, added to what it leaves of a token (Gemma 4).

    Raises:
        ConfigError: a size is impossible.
    """

    vocab_size: int
    """Tokens that have one."""
    width: int
    """Numbers of one layer's."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width"):
            check_whole(name, getattr(self, name))
