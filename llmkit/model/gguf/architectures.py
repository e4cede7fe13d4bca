"""llama.cpp's architectures that our families are: which tensors and built-in numbers each has. No torch.

A GGUF file says less than a config.json: what it leaves out is in llama.cpp's graph for the architecture, and
so in this table. Names: gguf-py's constants; what is built in: ggml-org/llama.cpp `src/models`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.config_states import MultipliersConfig

Windows = Literal["none", "periodic", "listed"]
"""
none: no layer slides.
periodic: all layers but each n-th slide; `attention.sliding_window_pattern` is n.
listed: the pattern says it of each layer, and without one all slide.
"""


@dataclass(frozen=True)
class GgufArchitecture:
    """One general.architecture, as a model_type uses it."""

    name: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ModelConfig that llama.cpp's graph has built in, beside those that the family has anyway."""
    activations: tuple[str, ...] = ("silu",)
    """What files of it may have been; the first is what one is read as."""
    experts: Mapping[str, Any] | None = None
    """Fields of ExpertsConfig that are built in; None: it has no experts."""
    permuted: bool = False
    """Rows of q and k are in turns: pair by pair, where the model's files have two halves."""
    joined_qkv: bool = False
    """Queries, keys and values are one tensor."""
    joined_gate_up: bool = False
    feed_norm: str = "ffn_norm"
    """The norm before the MLP."""
    bare_feed_norm: bool = False
    """Whether that tensor's name has no .weight."""
    last_norm: str = "output_norm"
    """That before the head."""
    windows: Windows = "none"
    window_period: int = 0
    """Of periodic windows, where the file does not say it."""
    seen_windows: bool = True
    """Whether llama.cpp looks at the window; where not, it reads everything."""
    factor_tensors: bool = False
    """Whether llama.cpp reads the factors of rotary frequencies from tensors."""
    needs: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ModelConfig without which llama.cpp does not load a file."""
    needs_head: bool = False
    """Whether it asks for a head of its own, which a tied model then has twice."""
    needs_every_key: bool = False
    """Whether there must be as many key/value heads as query heads."""
    heads_fill_width: bool = False
    """Whether heads must be hidden_size wide together."""
    needs_shared_expert: bool = False
    """Whether layers with experts must have one for every token."""


_TANH = ("gelu_pytorch_tanh", "gelu_new")
_GELU = ("gelu_new", "gelu_pytorch_tanh")
_ROUTED = {"scoring": "sigmoid", "selection_bias": True, "group_score": "best_two"}
_TOPK = {"norm_topk_prob": True}
_QWEN_EXPERTS = {**_TOPK, "shared_gate": True}
_NO_BIAS = {"output_bias": False}
_TIED = {"tie_word_embeddings": True, **_NO_BIAS}
_BIASED = {"attention_bias": True, "output_bias": True}
_BARE = {"attention_bias": False, "output_bias": False, "mlp_bias": False}
_LATENT = {"rope_interleaved": True}

ARCHITECTURES: dict[str, GgufArchitecture] = {
    "llama": GgufArchitecture("llama", permuted=True, factor_tensors=True),
    "mistral": GgufArchitecture(
        "llama", permuted=True, windows="listed", seen_windows=False, factor_tensors=True
    ),
    "ministral3": GgufArchitecture(
        "mistral3", permuted=True, windows="listed", seen_windows=False, factor_tensors=True
    ),
    "mixtral": GgufArchitecture(
        "llama", experts=_TOPK, permuted=True, windows="listed", seen_windows=False, factor_tensors=True
    ),
    "qwen2": GgufArchitecture("qwen2", windows="listed", seen_windows=False, heads_fill_width=True),
    "qwen3": GgufArchitecture("qwen3", windows="listed", seen_windows=False, needs=_NO_BIAS),
    "qwen2_moe": GgufArchitecture(
        "qwen2moe",
        experts={"norm_topk_prob": False, "shared_gate": True},
        needs_head=True,
        windows="listed",
        seen_windows=False,
        heads_fill_width=True,
    ),
    "qwen3_moe": GgufArchitecture(
        "qwen3moe", experts=_TOPK, windows="listed", seen_windows=False, needs=_NO_BIAS
    ),
    "olmoe": GgufArchitecture(
        "olmoe", experts={"norm_topk_prob": False}, needs_every_key=True, needs=_NO_BIAS, needs_head=True
    ),
    "gemma": GgufArchitecture("gemma", activations=_TANH, needs=_TIED),
    "gemma2": GgufArchitecture("gemma2", activations=_TANH, windows="periodic", window_period=2, needs=_TIED),
    "gemma3_text": GgufArchitecture(
        "gemma3", activations=_TANH, windows="periodic", window_period=6, needs=_NO_BIAS
    ),
    "gemma4_text": GgufArchitecture(
        "gemma4",
        activations=_TANH,
        experts={"norm_topk_prob": True, "beside_mlp": True},
        windows="listed",
        factor_tensors=True,
        needs={"attention_bias": False, **_NO_BIAS},
    ),
    "phi3": GgufArchitecture(
        "phi3",
        joined_qkv=True,
        joined_gate_up=True,
        windows="listed",
        seen_windows=False,
        factor_tensors=True,
    ),
    "phi": GgufArchitecture("phi2", activations=_GELU, needs_head=True),
    "olmo2": GgufArchitecture("olmo2", needs_head=True, needs=_NO_BIAS),
    "olmo3": GgufArchitecture("olmo2", windows="listed", needs_head=True, needs=_NO_BIAS),
    "smollm3": GgufArchitecture(
        "smollm3", permuted=True, windows="listed", seen_windows=False, needs={**_NO_BIAS, "mlp_bias": False}
    ),
    "granite": GgufArchitecture("granite", permuted=True, factor_tensors=True),
    "arcee": GgufArchitecture(
        "arcee",
        activations=("relu2",),
        permuted=True,
        factor_tensors=True,
        needs={**_NO_BIAS, "mlp_bias": False},
    ),
    "apertus": GgufArchitecture(
        "apertus", activations=("xielu",), factor_tensors=True, needs=_NO_BIAS, needs_head=True
    ),
    "seed_oss": GgufArchitecture(
        "seed_oss", feed_norm="post_attention_norm", needs={**_NO_BIAS, "mlp_bias": False}
    ),
    "ernie4_5": GgufArchitecture("ernie4_5", needs=_BARE),
    "glm": GgufArchitecture("chatglm", joined_gate_up=True, heads_fill_width=True),
    "glm4": GgufArchitecture("glm4", joined_gate_up=True),
    "exaone4": GgufArchitecture("exaone4", windows="periodic", window_period=4, factor_tensors=True),
    "cohere2": GgufArchitecture("cohere2", windows="periodic", window_period=4, needs=_TIED),
    "nemotron": GgufArchitecture("nemotron", activations=("relu2",), needs_head=True, heads_fill_width=True),
    "hunyuan_v1_dense": GgufArchitecture("hunyuan-dense", needs=_NO_BIAS),
    "hunyuan_v1_moe": GgufArchitecture("hunyuan-moe", experts=_TOPK, needs=_NO_BIAS),
    "granitemoehybrid": GgufArchitecture("granite", permuted=True, factor_tensors=True),
    "gpt2": GgufArchitecture("gpt2", {"position": "learned"}, _GELU, joined_qkv=True),
    "gpt_neox": GgufArchitecture(
        "gptneox", activations=("gelu", *_GELU), joined_qkv=True, needs=_BIASED, needs_head=True
    ),
    "stablelm": GgufArchitecture("stablelm", needs_head=True),
    "starcoder2": GgufArchitecture(
        "starcoder2",
        activations=_TANH,
        windows="listed",
        seen_windows=False,
        needs={"output_bias": True, "mlp_bias": True},
    ),
    "cohere": GgufArchitecture("command-r", needs=_TIED),
    "deepseek_v2": GgufArchitecture(
        "deepseek2", _LATENT, experts={"scoring": "softmax"}, needs=_BARE, needs_shared_expert=True
    ),
    "deepseek_v3": GgufArchitecture(
        "deepseek2", _LATENT, experts=_ROUTED, needs=_BARE, needs_shared_expert=True
    ),
    "dots1": GgufArchitecture(
        "dots1",
        experts=_ROUTED,
        windows="listed",
        seen_windows=False,
        needs_every_key=True,
        needs=_NO_BIAS,
        needs_head=True,
        needs_shared_expert=True,
    ),
    "glm4_moe": GgufArchitecture(
        "glm4moe", experts=_ROUTED, feed_norm="post_attention_norm", needs_shared_expert=True
    ),
    "glm4_moe_lite": GgufArchitecture(
        "deepseek2", _LATENT, experts=_ROUTED, needs=_BARE, needs_shared_expert=True
    ),
    "ernie4_5_moe": GgufArchitecture(
        "ernie4_5-moe", experts={"norm_topk_prob": True, "selection_bias": True}, needs=_BARE
    ),
    "minimax_m2": GgufArchitecture(
        "minimax-m2",
        experts={"norm_topk_prob": True, "scoring": "sigmoid", "selection_bias": True},
        needs_head=True,
    ),
    "falcon_h1": GgufArchitecture("falcon-h1", factor_tensors=True, bare_feed_norm=True),
    "nemotron_h": GgufArchitecture("nemotron_h", {"position": "none"}, activations=("relu2",)),
    "lfm2": GgufArchitecture("lfm2", needs=_NO_BIAS, last_norm="token_embd_norm"),
    "lfm2_moe": GgufArchitecture(
        "lfm2moe",
        experts={
            **{"norm_topk_prob": True, "scoring": "sigmoid", "selection_bias": True},
            "routed_scaling_factor": 1.0,
        },
        needs=_NO_BIAS,
        last_norm="token_embd_norm",
    ),
    "qwen3_next": GgufArchitecture(
        "qwen3next",
        experts=_QWEN_EXPERTS,
        feed_norm="post_attention_norm",
        needs=_BARE,
        needs_shared_expert=True,
    ),
    "qwen3_5_text": GgufArchitecture("qwen35", feed_norm="post_attention_norm", needs=_BARE),
    "qwen3_5_moe_text": GgufArchitecture(
        "qwen35moe",
        experts=_QWEN_EXPERTS,
        feed_norm="post_attention_norm",
        needs=_BARE,
        needs_shared_expert=True,
    ),
    "granitemoe": GgufArchitecture("granitemoe", experts=_TOPK, permuted=True, factor_tensors=True),
    "llama4_text": GgufArchitecture(
        "llama4",
        experts={"scoring": "sigmoid", "weighs_inputs": True},
        windows="periodic",
        window_period=4,
        factor_tensors=True,
        needs=_BARE,
    ),
    "gpt_oss": GgufArchitecture(
        "gpt-oss",
        experts={"norm_topk_prob": True, "router_bias": True, "expert_bias": True, "swiglu_limit": 7.0},
        feed_norm="post_attention_norm",
        windows="periodic",
        window_period=2,
        needs=_BIASED,
        needs_head=True,
    ),
}
"""By model_type; all else being equal, files are read as the first of those with their architecture."""

WITH_STATES: dict[str, GgufArchitecture] = {
    "granitemoehybrid": GgufArchitecture("granitehybrid", experts=_TOPK, permuted=True, factor_tensors=True)
}
"""By model_type: what llama.cpp calls families that have another architecture where layers keep a state."""

WITH_EXPERTS: dict[str, GgufArchitecture] = {
    "granitemoehybrid": ARCHITECTURES["granitemoe"],
    "nemotron_h": GgufArchitecture(
        "nemotron_h_moe",
        {"position": "none"},
        activations=("relu2",),
        experts=_ROUTED,
        needs={"mlp_bias": False},
        needs_shared_expert=True,
    ),
}
"""The same where they have none, or not only, and there are experts."""

_PAIRS = (*ARCHITECTURES.items(), *WITH_STATES.items(), *WITH_EXPERTS.items())
KNOWN = tuple(dict.fromkeys(one.name for _, one in _PAIRS))
"""Every general.architecture that is read and written."""


def families_of(name: str) -> dict[str, GgufArchitecture]:
    """The families of a general.architecture, by model_type."""
    return {family: one for family, one in _PAIRS if one.name == name}


def gguf_architecture(config: ModelConfig) -> GgufArchitecture:
    """What llama.cpp calls a family.

    Raises:
        ConfigError: it is not known here; llama.cpp may have the family all the same.
    """
    if config.multipliers not in (None, MultipliersConfig()):
        raise ConfigError(
            f"a GGUF file has no keys for what {config.model_type} multiplies with",
            hint="llmkit convert MODEL MODEL.gguf puts it into the weights; go on with that file",
        )
    if config.mamba is not None and config.model_type in WITH_STATES:
        return WITH_STATES[config.model_type]
    if config.experts is not None and config.model_type in WITH_EXPERTS:
        return WITH_EXPERTS[config.model_type]
    if config.model_type not in ARCHITECTURES:
        raise ConfigError(
            f"model_type {config.model_type!r} is not written as GGUF",
            hint=f"keep it as a folder; those that are written: {', '.join(ARCHITECTURES)}",
        )
    return ARCHITECTURES[config.model_type]
