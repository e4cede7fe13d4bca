"""Parts of a shape whose layers keep a state: the delta rule, short convolutions, Mamba-2. No torch."""

from dataclasses import dataclass

from llmkit.errors import ConfigError
from llmkit.model.config_checks import check_whole


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
