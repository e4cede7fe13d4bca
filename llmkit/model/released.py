"""Shapes of well-known models, as others have released them; `presets.py` has ours beside them."""

from typing import Any

from llmkit.model.config import ModelConfig


def _llama(**fields: Any) -> ModelConfig:
    return ModelConfig(model_type="llama", **fields)


def _gpt2(hidden_size: int, layers: int, heads: int) -> ModelConfig:
    return ModelConfig(
        model_type="gpt2",
        vocab_size=50257,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=1024,
        hidden_act="gelu_new",
        norm="layer",
        position="learned",
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
        gated_mlp=False,
        tie_word_embeddings=True,
        bos_token_id=50256,
        eos_token_id=50256,
    )


def _llama_3(
    hidden_size: int, intermediate_size: int, *, layers: int, heads: int, factor: float, **fields: Any
) -> ModelConfig:
    """Llama 3.1 and 3.2, whose rotary positions are scaled by a factor of their own."""
    return _llama(
        vocab_size=128_256,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        max_position_embeddings=131_072,
        rope_theta=500_000.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        bos_token_id=128_000,
        eos_token_id=128_001,
        dtype="bfloat16",
        **fields,
    )


def _qwen3(
    hidden_size: int, intermediate_size: int, *, layers: int, heads: int, tie_word_embeddings: bool = False
) -> ModelConfig:
    return ModelConfig(
        model_type="qwen3",
        vocab_size=151_936,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        norm_eps=1e-6,
        rope_theta=1_000_000.0,
        qk_norm="head",
        tie_word_embeddings=tie_word_embeddings,
        bos_token_id=151_643,
        eos_token_id=151_645,
        dtype="bfloat16",
    )


RELEASED: dict[str, ModelConfig] = {
    "stories15m": _llama(
        vocab_size=32000,
        hidden_size=288,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=6,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "smollm2-135m": _llama(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rope_theta=100_000.0,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        dtype="bfloat16",
    ),
    "qwen3-0.6b": _qwen3(1024, 3072, layers=28, heads=16, tie_word_embeddings=True),
    "tinyllama-1.1b": _llama(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
    ),
    "llama-3.2-1b": _llama_3(2048, 8192, layers=16, heads=32, factor=32.0, tie_word_embeddings=True),
    "llama-2-7b": _llama(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
    ),
    "llama-3.1-8b": _llama_3(4096, 14_336, layers=32, heads=32, factor=8.0),
    "llama-3.1-70b": _llama_3(8192, 28_672, layers=80, heads=64, factor=8.0),
    "mistral-7b-v0.3": ModelConfig(
        model_type="mistral",
        vocab_size=32_768,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32_768,
        rope_theta=1_000_000.0,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
    ),
    "qwen3-8b": _qwen3(4096, 12_288, layers=36, heads=32),
}
