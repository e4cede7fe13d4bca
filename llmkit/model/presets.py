"""Model shapes by name: a ladder of our own from 1M to 1B, and well-known ones of others.

The ladder is qwen3-shaped: grouped queries, RMSNorm on query and key heads, SwiGLU, tied embeddings. Its
vocabularies fit its sizes; `pretrain` takes the tokenizer's instead.
"""

from dataclasses import replace
from typing import Any

from llmkit.errors import ConfigError, nearest
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.released import RELEASED
from llmkit.model.reshape import reshape


def _ladder(
    hidden_size: int, layers: int, heads: int, kv_heads: int, vocab: int, context: int
) -> ModelConfig:
    """One rung: SwiGLU of 8/3 the width, rounded up to a multiple of 32, and head_dim 32 to 128."""
    return ModelConfig(
        model_type="qwen3",
        vocab_size=vocab,
        hidden_size=hidden_size,
        intermediate_size=-(-hidden_size * 8 // (3 * 32)) * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        norm_eps=1e-6,
        qk_norm="head",
        tie_word_embeddings=True,
    )


def _sparse(rung: ModelConfig, num_experts: int, num_experts_per_tok: int) -> ModelConfig:
    """A rung with experts, of which a token uses as many parameters as it does of the rung itself."""
    experts = ExpertsConfig(
        num_experts=num_experts,
        num_experts_per_tok=num_experts_per_tok,
        intermediate_size=rung.intermediate_size // num_experts_per_tok,
        layers=tuple(range(rung.num_hidden_layers)),
        norm_topk_prob=True,
        router_aux_loss_coef=0.001,
    )
    return replace(rung, model_type="qwen3_moe", experts=experts)


def _sparse_by_bias(rung: ModelConfig, num_experts: int, num_experts_per_tok: int) -> ModelConfig:
    """The same with DeepSeek-V3's router and shared expert: a bias, not a loss, keeps its experts even.

    dots1 is the family of grouped queries that has them. Its first layer is dense, as in its models.
    """
    width = rung.intermediate_size // (num_experts_per_tok + 1) // 16 * 16
    experts = ExpertsConfig(
        num_experts=num_experts,
        num_experts_per_tok=num_experts_per_tok,
        intermediate_size=width,
        layers=tuple(range(1, rung.num_hidden_layers)),
        scoring="sigmoid",
        norm_topk_prob=True,
        group_score="best_two",
        selection_bias=True,
        shared_intermediate_size=width,
    )
    return replace(rung, model_type="dots1", experts=experts)


_TINY = _ladder(128, 4, 4, 2, vocab=4096, context=512)
_SMALL = _ladder(256, 6, 8, 4, vocab=8192, context=1024)
PRESETS: dict[str, ModelConfig] = {
    "tiny": _TINY,
    "tiny-moe": _sparse(_TINY, 8, 2),
    "tiny-moe-free": _sparse_by_bias(_TINY, 8, 2),
    "small": _SMALL,
    "small-moe": _sparse(_SMALL, 16, 4),
    "medium": _ladder(512, 8, 8, 4, vocab=16384, context=2048),
    "base": _ladder(768, 12, 12, 4, vocab=32768, context=2048),
    "large": _ladder(1024, 24, 16, 8, vocab=32768, context=4096),
    "xl": _ladder(1792, 28, 14, 7, vocab=65536, context=4096),
    "nanogpt-cpu": ModelConfig(
        model_type="gpt2",
        vocab_size=65,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=64,
        hidden_act="gelu",
        norm="layer",
        position="learned",
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
        gated_mlp=False,
        tie_word_embeddings=True,
    ),
    **RELEASED,
}


def preset(name: str, **overrides: Any) -> ModelConfig:
    """A preset, with some fields changed.

    What the preset derives from its sizes follows them: head_dim from hidden_size and num_attention_heads,
    num_key_value_heads where there are no groups, and intermediate_size, of experts too, in proportion to
    hidden_size.

    Args:
        name: a key of PRESETS.
        overrides: fields of ModelConfig.

    Raises:
        ConfigError: no such preset or field, or the result is no possible model.
    """
    if name not in PRESETS:
        guess = nearest(name, PRESETS)
        raise ConfigError(
            f"no preset named {name!r}",
            hint=f"did you mean {guess}?" if guess else f"presets: {', '.join(PRESETS)}",
        )
    base = PRESETS[name]
    hidden_size = overrides.get("hidden_size", base.hidden_size)

    def in_proportion(width: int) -> int:
        return -(-width * hidden_size // base.hidden_size)  # rounded up

    if base.experts is not None:
        inside, shared = base.experts.intermediate_size, base.experts.shared_intermediate_size
        width = -(-in_proportion(inside) // 8) * 8  # rows of 16 bytes: what grouped products take
        experts = replace(
            base.experts, intermediate_size=width, shared_intermediate_size=shared // inside * width
        )
        base = replace(base, experts=experts)
    return reshape(base, {"intermediate_size": in_proportion(base.intermediate_size), **overrides})
