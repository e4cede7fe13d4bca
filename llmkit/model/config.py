"""A model's shape, in the words of Hugging Face config.json. No torch: estimates and `show` read it too."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from llmkit.errors import ConfigError, nearest
from llmkit.model.families import FAMILIES, ROPE_KEYS
from llmkit.model.hf_config import fields_from_hf, fields_to_hf

ACTIVATIONS = ("silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "relu2")
"""Values of hidden_act; gelu_new and gelu_pytorch_tanh are the same function."""
_SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "max_position_embeddings"),
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A decoder-only transformer.

    Raises:
        ConfigError: a size is impossible, or model_type has no such combination of switches.
    """

    model_type: str = "llama"
    """The family whose names and config keys the folder has: llama, mistral, qwen2, qwen3 or gpt2."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int = 0
    """Equal to num_attention_heads for multi-head attention, 1 for multi-query, between for grouped-query.
    0 means num_attention_heads."""
    head_dim: int = 0
    """0 means hidden_size / num_attention_heads."""
    max_position_embeddings: int = 2048
    hidden_act: str = "silu"
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-5
    position: Literal["rope", "learned", "sinusoidal"] = "rope"
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None
    """None, or `rope_type` (linear, llama3) with its numbers under Hugging Face's names."""
    qk_norm: bool = False
    """RMSNorm over each query and key head before the rotation."""
    attention_bias: bool = False
    """Biases on q_proj, k_proj and v_proj."""
    output_bias: bool = False
    """A bias on o_proj."""
    mlp_bias: bool = False
    gated_mlp: bool = True
    """down(act(gate(x)) * up(x)), as in SwiGLU; otherwise down(act(up(x)))."""
    tie_word_embeddings: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    dtype: str = "float32"
    """How the weights are stored: float32, bfloat16 or float16."""
    initializer_range: float = 0.02
    """Standard deviation of fresh weights."""

    def __post_init__(self) -> None:
        if not self.num_key_value_heads:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        if not self.head_dim and self.num_attention_heads:
            self._check_multiple("hidden_size", "num_attention_heads")
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        self._check_sizes()
        self._check_family()
        if self.position == "rope":
            self._check_rope()

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], source: str = "config.json") -> "ModelConfig":
        """The model that a Hugging Face config.json describes.

        Args:
            config: the decoded JSON object.
            source: where it came from, for messages.

        Raises:
            ConfigError: a key is missing, or changes the arithmetic and is not supported: it is named.
        """
        fields = fields_from_hf(config, source)
        try:
            return cls(**fields)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error.problem}", hint=error.hint) from None

    def to_hf(self) -> dict[str, Any]:
        """The config.json that transformers, vLLM and llama.cpp read, every architectural key written out."""
        return fields_to_hf(asdict(self))

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """All ids that end a text; empty where there is none."""
        if self.eos_token_id is None:
            return ()
        return self.eos_token_id if isinstance(self.eos_token_id, tuple) else (self.eos_token_id,)

    def _check_sizes(self) -> None:
        for name in _SIZES:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"{name} is not a whole number of at least 1 (found {value!r})", hint=f"change {name}"
                )
        for name in ("norm_eps", "initializer_range"):
            if not _is_number(getattr(self, name)):
                raise ConfigError(
                    f"{name} is not a number of at least 0 (found {getattr(self, name)!r})",
                    hint=f"change {name}",
                )
        self._check_multiple("num_attention_heads", "num_key_value_heads")
        if self.hidden_act not in ACTIVATIONS:
            guess = nearest(str(self.hidden_act), ACTIVATIONS)
            raise ConfigError(
                f"hidden_act {self.hidden_act!r} is not supported (known: {', '.join(ACTIVATIONS)})",
                hint=f"did you mean {guess}?" if guess else "use one of these",
            )

    def _check_multiple(self, name: str, divisor: str) -> None:
        if getattr(self, name) % getattr(self, divisor):
            raise ConfigError(
                f"{name} ({getattr(self, name)}) is not a multiple of {divisor} ({getattr(self, divisor)})",
                hint=f"set {divisor} to a divisor of {getattr(self, name)}",
            )

    def _check_family(self) -> None:
        family = FAMILIES.get(self.model_type)
        if family is None:
            guess = nearest(self.model_type, FAMILIES)
            raise ConfigError(
                f"unknown model_type {self.model_type!r}",
                hint=f"did you mean {guess}?" if guess else f"use one of {', '.join(FAMILIES)}",
            )
        for name, allowed in family.switches.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"a {self.model_type} model has {name} {' or '.join(map(str, allowed))} "
                    f"(found {getattr(self, name)})",
                    hint="choose another model_type, or a preset of the shape you want",
                )
        if self.model_type in ("llama", "qwen3") and self.attention_bias != self.output_bias:
            raise ConfigError(
                f"a {self.model_type} model has attention_bias and output_bias both or neither",
                hint="set output_bias to the value of attention_bias",
            )
        if self.model_type == "gpt2" and (
            self.num_key_value_heads != self.num_attention_heads
            or self.head_dim * self.num_attention_heads != self.hidden_size
        ):
            raise ConfigError(
                "a gpt2 model has key/value heads as many as heads, and heads that share hidden_size "
                f"(found {self.num_key_value_heads} of {self.num_attention_heads} heads, "
                f"head_dim {self.head_dim}, hidden_size {self.hidden_size})",
                hint="choose a llama or qwen3 shape for grouped queries",
            )

    def _check_rope(self) -> None:
        if self.head_dim % 2:
            raise ConfigError(
                f"rotary positions need an even head_dim (found {self.head_dim})",
                hint="change hidden_size or num_attention_heads",
            )
        if not _is_number(self.rope_theta) or not self.rope_theta:
            raise ConfigError(
                f"rope_theta is not a number above 0 (found {self.rope_theta!r})", hint="change rope_theta"
            )
        if self.rope_scaling is not None and not self._is_usable(self.rope_scaling):
            raise ConfigError(
                f"rope_scaling {self.rope_scaling} is not usable",
                hint="give rope_type linear with factor, or llama3 with its four numbers, low below high",
            )

    def _is_usable(self, scaling: Mapping[str, Any]) -> bool:
        needed = ROPE_KEYS.get(scaling.get("rope_type", ""), ("",))
        if not all(_is_number(scaling.get(name)) and scaling[name] for name in needed):
            return False
        return "low_freq_factor" not in needed or scaling["low_freq_factor"] < scaling["high_freq_factor"]


def _is_number(value: object) -> bool:
    """Finite, and 0 or more."""
    return isinstance(value, int | float) and 0 <= value < float("inf")
