"""A model's shape, in the words of Hugging Face config.json. No torch: estimates and `show` read it too."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from llmkit.errors import ConfigError, at_place, nearest
from llmkit.model.config_checks import check_activation, check_layers, check_number, check_whole, is_number
from llmkit.model.config_parts import ExpertsConfig, FullHeadsConfig, LatentConfig, OwnInputsConfig
from llmkit.model.config_states import DeltaConfig, Mamba2Config, MultipliersConfig, ShortConvConfig
from llmkit.model.families.read import fields_from_hf, fields_to_hf
from llmkit.model.families.table import FAMILIES
from llmkit.model.rope_scaling import check_rope_scaling
from llmkit.model.window import ALL, Window

ACTIVATIONS = ("silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "relu2")
"""Values of hidden_act; gelu_new and gelu_pytorch_tanh are the same function."""
_OF_FAMILY = {"apertus": ("xielu",)}
"""Those of one family alone: each layer learns two numbers of it."""
_SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "max_position_embeddings"),
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A decoder-only transformer.

    Which combinations there are is the model_type's to say: a config is possible when its family's
    config.json can tell it, that is, when written and read again it is the same.

    Raises:
        ConfigError: a size is impossible, or model_type has no such combination of switches.
    """

    model_type: str = "llama"
    """The family whose names and config keys the folder has."""
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
    norm_bias: bool = True
    """LayerNorm's; RMSNorm has none."""
    norm_plus_one: bool = False
    """Norms multiply with 1 + weight, as in Gemma."""
    norm_placement: Literal["before", "after", "both"] = "before"
    """Of a branch's norms: x + f(norm(x)), x + norm(f(x)), or x + norm(f(norm(x)))."""
    residual: Literal["serial", "parallel", "parallel_one_norm"] = "serial"
    """Whether the MLP reads what attention has added, or the same stream as attention does, through a norm of
    its own or through attention's."""

    position: Literal["rope", "learned", "sinusoidal", "none"] = "rope"
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None
    """None, or `rope_type` with its numbers under Hugging Face's names (model/rope_scaling.py)."""
    rotary_dim: int = 0
    """How many numbers of a head are rotated, the first ones; 0 means all."""
    rope_interleaved: bool = False
    """Pairs stand side by side in a head, not in its two halves."""
    no_rope_layers: tuple[int, ...] = ()
    """Layers without positions."""
    sliding_window: int | None = None
    """How many tokens a sliding layer sees, its own included."""
    sliding_layers: tuple[int, ...] = ()
    """Layers that see no more than the window."""
    chunked_window: bool = False
    """Windows stand side by side, from every multiple of sliding_window on, in place of going along: a token
    sees its own from its beginning on (Llama 4's attention_chunk_size)."""
    query_growth: float = 0.0
    """How much queries grow with their positions: at position p they are multiplied with
    1 + query_growth * ln(1 + p // query_growth_positions), as in Ministral 3."""
    query_growth_positions: int = 0
    """Positions before the first growth, and between one and the next."""
    query_growth_unrotated: bool = False
    """Only queries of no_rope_layers grow, and with 1 + p in place of p, as in Llama 4."""
    sliding_rope_theta: float | None = None
    """The base of sliding layers, whose positions are then not scaled; None: as in the other layers."""

    qk_norm: Literal["none", "head", "projection", "rotated", "unweighted"] = "none"
    """A norm over each query and key head, or over all heads at once, before the rotation; or over each head
    after it; or that without a weight, in layers that rotate only (Llama 4)."""
    value_norm: bool = False
    """A norm without a weight over each value head."""
    full_heads: FullHeadsConfig | None = None
    shared_kv_layers: int = 0
    """How many layers, the last ones, read keys and values of the last layer of their kind before them."""
    attention_bias: bool = False
    """Biases on q_proj, k_proj and v_proj."""
    output_bias: bool = False
    """A bias on o_proj."""
    attention_scale: float = 0.0
    """What scores are multiplied with; 0 means head_dim ** -0.5."""
    attn_logit_softcapping: float | None = None
    """Scores s become c tanh(s / c)."""
    attention_sinks: bool = False
    """A learnt score for each head that takes its share of the softmax and gives nothing."""
    attention_gate: bool = False
    """q_proj gives each head a gate behind its query, whose sigmoid multiplies what the head takes home."""
    latent: LatentConfig | None = None
    delta: DeltaConfig | None = None
    short_conv: ShortConvConfig | None = None
    mamba: Mamba2Config | None = None

    lone_mlps: tuple[int, ...] | None = None
    """Where each layer is one branch alone, those that are an MLP. None: every layer has both branches."""
    mlp_bias: bool = False
    gated_mlp: bool = True
    """down(act(gate(x)) * up(x)), as in SwiGLU; otherwise down(act(up(x)))."""
    wide_shared_mlps: bool = False
    """MLPs of the layers that read others' keys and values are twice as wide."""
    experts: ExpertsConfig | None = None
    own_inputs: OwnInputsConfig | None = None
    layer_scalar: bool = False
    """What a layer leaves is multiplied with a number that is kept with its weights, and not learnt."""

    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    """What each branch is multiplied with before it is added."""
    logit_scale: float = 1.0
    multipliers: MultipliersConfig | None = None
    final_logit_softcapping: float | None = None
    """Logits z become c tanh(z / c)."""
    head_bias: bool = False
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
        if not self.rotary_dim and self.position == "rope":
            object.__setattr__(self, "rotary_dim", self.head_dim)
        self._check_sizes()
        if self.position == "rope":
            self._check_rope()
        self._check_family()

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
        with at_place(source, ConfigError):
            return cls(**fields)

    def to_hf(self) -> dict[str, Any]:
        """The config.json that transformers, vLLM and llama.cpp read, every architectural key written out."""
        return fields_to_hf(vars(self))

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """All ids that end a text; empty where there is none."""
        if self.eos_token_id is None:
            return ()
        return self.eos_token_id if isinstance(self.eos_token_id, tuple) else (self.eos_token_id,)

    def window(self, sliding: bool) -> Window:
        """What positions see in layers of either kind."""
        return Window(self.sliding_window, self.chunked_window) if sliding else ALL

    @property
    def sparse(self) -> ExpertsConfig | None:
        """Its experts, where a layer has them: all layers of a family with experts may be dense."""
        return self.experts if self.experts is not None and self.experts.layers else None

    @property
    def state_layers(self) -> tuple[int, ...]:
        """Layers that keep a state of fixed size in place of keys and values."""
        part = self.delta or self.short_conv or self.mamba
        return () if part is None else part.layers

    @property
    def num_kv_owners(self) -> int:
        """Layers, the first ones, that do not read the keys and values of others."""
        return self.num_hidden_layers - self.shared_kv_layers

    @property
    def layers_without_keys(self) -> tuple[int, ...]:
        """Layers that keep no keys and values: of state alone, MLPs alone, those that read others'."""
        states = () if self.has_both else self.state_layers
        shared = range(self.num_kv_owners, self.num_hidden_layers)
        return tuple(sorted((*states, *(self.lone_mlps or ()), *shared)))

    @property
    def has_both(self) -> bool:
        """Whether layers that keep a state keep keys and values beside it."""
        return self.mamba is not None and self.mamba.beside_attention

    @property
    def score_scale(self) -> float:
        """What attention's scores are multiplied with."""
        factor = 1.0 if self.multipliers is None else self.multipliers.scores
        return (self.attention_scale or self.head_dim**-0.5) * factor

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Layers that attend, and keep keys and values: all others."""
        without = self.layers_without_keys
        return tuple(layer for layer in range(self.num_hidden_layers) if layer not in without)

    def _check_sizes(self) -> None:
        for name in _SIZES:
            check_whole(name, getattr(self, name))
        check_layers(self.num_hidden_layers)
        for name in ("norm_eps", "initializer_range"):
            check_number(name, getattr(self, name))
        self._check_multiple("num_attention_heads", "num_key_value_heads")
        check_activation("hidden_act", self.hidden_act, (*ACTIVATIONS, *_OF_FAMILY.get(self.model_type, ())))
        if self.mamba is not None:
            check_activation("mamba_hidden_act", self.mamba.hidden_act, ACTIVATIONS)

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
        keys = fields_to_hf(vars(self))
        try:
            written = fields_from_hf(keys, f"a {self.model_type} model")
        except ConfigError as error:  # it was read from no file: the hint must not send people to one
            raise ConfigError(error.problem, hint=_OTHER_SHAPE) from None
        for one in fields(self):
            value, again = getattr(self, one.name), written.get(one.name, one.default)
            if value != again:
                raise ConfigError(
                    f"a {self.model_type} model has {_differing(one.name, again, value)}",
                    hint=_OTHER_SHAPE,
                )

    def _check_rope(self) -> None:
        if self.rotary_dim % 2 or self.rotary_dim > self.head_dim:
            raise ConfigError(
                f"rotary positions need an even number of a head's {self.head_dim} numbers "
                f"(found {self.rotary_dim})",
                hint="change hidden_size, num_attention_heads or rotary_dim",
            )
        if not is_number(self.rope_theta) or not self.rope_theta:
            raise ConfigError(
                f"rope_theta is not a number above 0 (found {self.rope_theta!r})", hint="change rope_theta"
            )
        if self.rope_scaling is not None:
            check_rope_scaling(self.rope_scaling, rotary_dim=self.rotary_dim)


_OTHER_SHAPE = "choose another model_type, a preset of the shape you want, or -m a config.json"


def _differing(name: str, wanted: Any, found: Any) -> str:
    """Where two values of a field differ; of a part with fields of its own, in which of them."""
    if not (is_dataclass(wanted) and is_dataclass(found)):
        return f"{name} {wanted} (found {found})"
    pairs = [(one.name, getattr(wanted, one.name), getattr(found, one.name)) for one in fields(wanted)]
    return ", ".join(f"{name}.{key} {a} (found {b})" for key, a, b in pairs if a != b)
