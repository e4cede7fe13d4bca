"""Mixtures of experts in GGUF files: their keys, both ways. No torch."""

from typing import Any

from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.model.config_parts import ExpertsConfig, Scoring
from llmkit.model.gguf.architectures import GgufArchitecture
from llmkit.model.gguf.keys import GgufKeys

_GATING: dict[Scoring, int] = {"softmax": 1, "sigmoid": 2}
"""gguf-py's ExpertGatingFuncType."""
_GRANITE, _GRANITE_MOE, _GEMMA4 = "granitehybrid", "granitemoe", "gemma4"
"""Of the first and the last, files have experts or none, of the second a shared one or none."""
_WIDTH_OF_MLP = ("llama", "olmoe", "gpt-oss", _GRANITE_MOE, _GRANITE, "minimax-m2")
"""Architectures whose experts are as wide as the MLP would be; gpt-oss has the key for it all the same."""
_NEMOTRON = "nemotron_h_moe"
_WITH_SHARED_WIDTH = ("qwen2moe", "hunyuan-moe", "qwen3next", "qwen35moe", _GRANITE, _NEMOTRON)
_DENSE_FIRST = ("deepseek2", "dots1", "glm4moe")
"""DeepSeek's kind: dense layers first, whole shared experts."""
_ROUTED = (*_DENSE_FIRST, _NEMOTRON)
"""With a scale and groups."""
_ERNIE, _MINIMAX, _LFM2, _LLAMA4 = "ernie4_5-moe", "minimax-m2", "lfm2moe", "llama4"
_SAY_DENSE = (*_DENSE_FIRST, _ERNIE, _LFM2)
"""Architectures with a key for how many layers are dense, the first ones."""


def experts_metadata(name: str, experts: ExpertsConfig, num_layers: int) -> dict[str, MetadataValue]:
    """The keys of a mixture of experts.

    Args:
        name: of the architecture.
        experts: what it has.
        num_layers: of the model.
    """
    keys: dict[str, MetadataValue] = {
        f"{name}.expert_count": Typed("u32", experts.num_experts),
        f"{name}.expert_used_count": Typed("u32", experts.num_experts_per_tok),
    }
    if name in (_MINIMAX, _LFM2):
        keys[f"{name}.expert_gating_func"] = Typed("u32", _GATING[experts.scoring])
    if name in _SAY_DENSE:
        keys[f"{name}.leading_dense_block_count"] = Typed("u32", min(experts.layers, default=num_layers))
    if name == _ERNIE:
        keys |= _ernie_metadata(name, experts)
    if name == _LLAMA4:  # every so many-th layer has them, or reading it again tells that it is not so
        step = min(experts.layers, default=num_layers) + 1
        keys[f"{name}.interleave_moe_layer_step"] = Typed("u32", step)
    if name not in ("llama", _GRANITE_MOE, _GRANITE):
        keys[f"{name}.expert_feed_forward_length"] = Typed("u32", experts.intermediate_size)
    if name in _WITH_SHARED_WIDTH or (name == _GRANITE_MOE and experts.shared_intermediate_size):
        keys[f"{name}.expert_shared_feed_forward_length"] = Typed("u32", experts.shared_intermediate_size)
    if name in _ROUTED:
        whole = experts.shared_intermediate_size // experts.intermediate_size
        keys |= {
            f"{name}.expert_shared_count": Typed("u32", 1 if name == _NEMOTRON else whole),
            f"{name}.expert_weights_scale": Typed("f32", experts.routed_scaling_factor),
            f"{name}.expert_weights_norm": experts.norm_topk_prob,
            f"{name}.expert_gating_func": Typed("u32", _GATING[experts.scoring]),
            f"{name}.expert_group_count": Typed("u32", experts.num_groups),
            f"{name}.expert_group_used_count": Typed("u32", experts.topk_groups),
        }
    return keys


def read_experts(
    keys: GgufKeys, architecture: GgufArchitecture, fields: dict[str, Any]
) -> ExpertsConfig | None:
    """The experts of a file; None where its architecture, or the file, has none.

    Args:
        keys: of the file.
        architecture: with what is built in.
        fields: of ModelConfig, read so far: num_hidden_layers, intermediate_size, and lone_mlps if any.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    may_lack = architecture.name in (_GRANITE, _GEMMA4)
    if architecture.experts is None or (may_lack and not keys.whole("expert_count", 0)):
        return None
    name, layers = architecture.name, fields["num_hidden_layers"]
    width = keys.whole(
        "expert_feed_forward_length", fields["intermediate_size"] if name in _WIDTH_OF_MLP else None
    )
    dense = keys.whole("leading_dense_block_count", 0) if name in _SAY_DENSE else 0
    found: dict[str, Any] = {
        "num_experts": keys.whole("expert_count"),
        "num_experts_per_tok": keys.whole("expert_used_count"),
        "intermediate_size": width,
        "layers": fields["lone_mlps"] if name == _NEMOTRON else tuple(range(dense, layers)),
    }
    if name in _WITH_SHARED_WIDTH:
        found["shared_intermediate_size"] = keys.whole(
            "expert_shared_feed_forward_length", fields["intermediate_size"]
        )
    if name == _GRANITE_MOE:
        found["shared_intermediate_size"] = keys.whole("expert_shared_feed_forward_length", 0)
    if name in _DENSE_FIRST:
        found["shared_intermediate_size"] = width * keys.whole("expert_shared_count", 0)
    if name in _ROUTED:
        found |= {
            "routed_scaling_factor": float(keys.number("expert_weights_scale", 1.0)) or 1.0,
            "norm_topk_prob": keys.flag("expert_weights_norm", False),
            "num_groups": keys.whole("expert_group_count", 1) or 1,
            "topk_groups": keys.whole("expert_group_used_count", 1) or 1,
        }
    if name == _GEMMA4:
        found["shared_intermediate_size"] = fields["intermediate_size"]
    if name == _ERNIE:
        shared = width * keys.whole("expert_shared_count", 0)
        found["shared_intermediate_size"] = keys.whole("expert_shared_feed_forward_length", shared)
    if name == _LLAMA4:
        step = keys.whole("interleave_moe_layer_step")
        found |= {
            "shared_intermediate_size": width,
            "layers": tuple(range(step - 1, layers, step)) if step else (),
        }
    return ExpertsConfig(**{**found, **architecture.experts})


def _ernie_metadata(name: str, experts: ExpertsConfig) -> dict[str, MetadataValue]:
    return {
        f"{name}.interleave_moe_layer_step": Typed("u32", 1),  # llama.cpp asks for it, and loads no other
        f"{name}.expert_shared_count": Typed(
            "u32", experts.shared_intermediate_size // experts.intermediate_size
        ),
        f"{name}.expert_shared_feed_forward_length": Typed("u32", experts.shared_intermediate_size),
    }


def has_shared_expert(keys: GgufKeys) -> bool:
    """Whether a file has one: of those of granitemoe, what tells Granite 4 whose layers all attend from
    Granite 3.

    Raises:
        ConfigError: the key is no number.
    """
    return keys.whole("expert_shared_feed_forward_length", 0) > 0


def is_sigmoid(keys: GgufKeys, default: bool) -> bool:
    """Whether a file's experts are scored by sigmoids: what tells DeepSeek-V3 from V2.

    Args:
        keys: of the file.
        default: where it does not say.

    Raises:
        ConfigError: the key has another value.
    """
    gating = keys.whole("expert_gating_func", 0)
    if gating not in (0, *_GATING.values()):
        keys.wrong("expert_gating_func", "1 (softmax) or 2 (sigmoid)")
    return gating == _GATING["sigmoid"] if gating else default
