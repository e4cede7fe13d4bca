"""Parts of a shape that only some families have: experts, latent attention, layers of state. No torch."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from llmkit.errors import ConfigError

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


@dataclass(frozen=True, kw_only=True)
class DeltaConfig:
    """Layers of the gated delta rule (2412.06464): a matrix for each value head in place of keys and values.

    Raises:
        ConfigError: a size is impossible.
    """

    layers: tuple[int, ...]
    """Which; the others have attention."""
    num_key_heads: int
    """Heads of queries and keys, each shared by as many value heads."""
    num_value_heads: int
    key_head_dim: int
    value_head_dim: int
    kernel: int
    """Tokens that the convolution before the rule spans."""
    inputs_by_head: bool = False
    """Whether inputs are in_proj_qkvz and in_proj_ba, a key head's rows side by side (Qwen3-Next), and not
    in_proj_qkv, in_proj_z, in_proj_b and in_proj_a (Qwen3.5)."""

    def __post_init__(self) -> None:
        for name in ("num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim", "kernel"):
            check_whole(name, getattr(self, name))
        if self.num_value_heads % self.num_key_heads:
            raise ConfigError(
                f"linear_num_value_heads ({self.num_value_heads}) is not a multiple of "
                f"linear_num_key_heads ({self.num_key_heads})",
                hint="let each key head serve as many value heads",
            )

    @property
    def key_width(self) -> int:
        """Numbers of all keys of a token."""
        return self.num_key_heads * self.key_head_dim

    @property
    def value_width(self) -> int:
        """Numbers of all values of a token."""
        return self.num_value_heads * self.value_head_dim

    @property
    def convolved(self) -> int:
        """Channels of the convolution: queries, keys and values."""
        return 2 * self.key_width + self.value_width


@dataclass(frozen=True, kw_only=True)
class ShortConvConfig:
    """Layers of a gated short convolution in place of attention (LFM2).

    Raises:
        ConfigError: a size is impossible.
    """

    layers: tuple[int, ...]
    """Which; the others have attention."""
    kernel: int
    """Tokens that it spans."""
    bias: bool = False

    def __post_init__(self) -> None:
        check_whole("kernel", self.kernel)


@dataclass(frozen=True, kw_only=True)
class Mamba2Config:
    """Layers of Mamba-2 (2405.21060): a matrix for each head in place of keys and values.

    Raises:
        ConfigError: a size is impossible.
    """

    layers: tuple[int, ...]
    """Which; the others have attention."""
    num_heads: int
    head_dim: int
    num_groups: int
    """Of heads that share keys and queries."""
    state_size: int
    """Numbers of a key."""
    kernel: int
    """Tokens that the convolution before the state space spans."""
    conv_bias: bool = True
    bias: bool = False
    """On in_proj and out_proj."""
    hidden_act: str = "silu"
    """After the convolution."""
    step_limits: tuple[float, float] = (0.0, float("inf"))
    """Steps end there, whatever a token asks for: time_step_limit."""
    beside_attention: bool = False
    """Its layers attend as well: both read the same, and are added (Falcon-H1)."""
    norm: bool = True
    """What is read goes through its gate and then a norm; otherwise through its gate alone."""

    def __post_init__(self) -> None:
        for name in ("num_heads", "head_dim", "num_groups", "state_size", "kernel"):
            check_whole(name, getattr(self, name))
        if self.num_heads % self.num_groups:
            raise ConfigError(
                f"Mamba-2's heads ({self.num_heads}) are not a multiple of their groups ({self.num_groups})",
                hint="let each group have as many heads",
            )

    @property
    def width(self) -> int:
        """Numbers of all heads of a token."""
        return self.num_heads * self.head_dim

    @property
    def convolved(self) -> int:
        """Channels of the convolution: values, keys and queries."""
        return self.width + 2 * self.num_groups * self.state_size


@dataclass(frozen=True, kw_only=True)
class MultipliersConfig:
    """Numbers that Falcon-H1 multiplies with, beside those of embeddings and logits (muP, 2203.03466)."""

    attention_in: float = 1.0
    """Of what attention reads."""
    attention_out: float = 1.0
    key: float = 1.0
    state_in: float = 1.0
    """Of what Mamba-2 reads."""
    state_out: float = 1.0
    state_parts: tuple[float, ...] = (1.0,) * 5
    """Of its gates, values, keys, queries and steps: ssm_multipliers."""
    mlp_gate: float = 1.0
    mlp_out: float = 1.0

    @property
    def scores(self) -> float:
        """What scores of attention are multiplied with: queries and keys have no biases."""
        return self.attention_in**2 * self.key

    @property
    def attention(self) -> float:
        """What attention's branch is multiplied with: values have no biases either."""
        return self.attention_in * self.attention_out

    @property
    def state_inputs(self) -> tuple[float, ...]:
        """What the five parts of Mamba-2's first product are multiplied with."""
        return tuple(self.state_in * one for one in self.state_parts)


MOST_LAYERS = 10_000
"""Beyond this a number of layers is a mistake, or that of a damaged file."""


def check_whole(name: str, value: object) -> None:
    """Refuse what is no possible size.

    Raises:
        ConfigError: names it.
    """
    if not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"{name} is not a whole number of at least 1 (found {value!r})", hint=f"change {name}"
        )
